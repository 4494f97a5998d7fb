/** Every comparison of a run: the headline's family first, then each prompt and metric. */
import type { Comparison, EngineFacts, Manifest } from '../record.ts';
import { bitsQualifier } from '../verdict/arithmetic.ts';
import { compareFamily, isResolved, MIX_PROMPT } from '../verdict/compare-family.ts';
import type { FamilyInput } from '../verdict/compare-family.ts';
import type { Analysis } from '../verdict/looks.ts';
import type { Collected } from './collect.ts';
import { count, logs, mixValues, PROMPT_METRICS, promptValues } from './values.ts';
import type { BlockValues, PromptMetric } from './values.ts';
import type { Mix, Work } from './work.ts';

export interface FamiliesInput {
  readonly manifest: Manifest;
  /** Measured engines. */
  readonly engines: readonly EngineFacts[];
  readonly collected: Collected;
  readonly work: Work;
  readonly mix: Mix;
  /** Ranked engines, void ones included: the headline's family. */
  readonly ranked: readonly string[];
  readonly analysis: Analysis;
  readonly override: NonNullable<FamilyInput['override']> | null;
  readonly voided: ReadonlyMap<string, string>;
  /** ln slowdown of the machine by accepted block; null: nothing looked at it. */
  readonly loads: readonly (number | null)[] | null;
  readonly stolen: readonly (number | null)[];
}

/** @returns the comparisons, and the level that all of them were tested at. */
export function compareAll(input: FamiliesInput): { readonly comparisons: Comparison[]; readonly alpha: number } {
  const { analysis } = input;
  const headline = compareMix(input, analysis.alpha);
  const settled = isResolved(headline) || analysis.alphaIfUnresolved === analysis.alpha;
  const alpha = settled ? analysis.alpha : analysis.alphaIfUnresolved;
  const prompts = input.manifest.plan.prompts.flatMap(({ name }) =>
    PROMPT_METRICS.flatMap((metric) => comparePrompt(input, { prompt: name, metric, alpha })),
  );
  return { comparisons: [...(settled ? headline : compareMix(input, alpha)), ...prompts], alpha };
}

/** Ranked engines outside the mix are listed, NOT_COMPARED. */
function compareMix(input: FamiliesInput, alpha: number): Comparison[] {
  const notCompared = new Map(
    input.ranked.flatMap((engine) =>
      input.mix.engines.includes(engine) || input.voided.has(engine)
        ? []
        : [[engine, `${engine} has no completed prompt in common with the others`] as const],
    ),
  );
  const values = new Map(input.ranked.map((engine) => [engine, mixValues(input.collected, engine, input.mix.prompts)]));
  return family(input, { metric: 'request', prompt: MIX_PROMPT, alpha, values, notCompared });
}

function comparePrompt(
  input: FamiliesInput,
  where: { readonly prompt: string; readonly metric: PromptMetric; readonly alpha: number },
): Comparison[] {
  const values = new Map(
    input.engines
      .map(({ id }) => [id, promptValues(input.collected, id, where.prompt, where.metric)] as const)
      .filter(([, column]) => count(column) > 0),
  );
  const notCompared = new Map(
    input.engines.flatMap((engine): (readonly [string, string])[] => {
      const shortened = input.work.shortened(engine.id, where.prompt);
      if (engine.referenceBackend !== null)
        return [[engine.id, `${engine.id} is an unranked reference backend: ${engine.referenceBackend}`]];
      return shortened === null ? [] : [[engine.id, `${engine.id} did other work: ${shortened}`]];
    }),
  );
  return family(input, { ...where, values, notCompared });
}

interface Family {
  readonly metric: PromptMetric;
  readonly prompt: string;
  readonly alpha: number;
  readonly values: ReadonlyMap<string, BlockValues>;
  readonly notCompared: ReadonlyMap<string, string>;
}

function family(input: FamiliesInput, { metric, prompt, alpha, values, notCompared }: Family): Comparison[] {
  const find = (id: string): EngineFacts | undefined => input.engines.find((engine) => engine.id === id);
  return compareFamily({
    metric,
    prompt,
    perEngineLogValues: new Map(
      [...values].map(([engine, column]) => [engine, logs(column.slice(0, input.analysis.blocks))]),
    ),
    alpha,
    margin: input.manifest.plan.margin,
    ...(input.loads === null ? {} : { loads: input.loads.slice(0, input.analysis.blocks) }),
    stolen: input.stolen.slice(0, input.analysis.blocks),
    override: input.override,
    voided: input.voided,
    notCompared,
    qualify: (a, b) => {
      const [left, right] = [find(a), find(b)];
      return left === undefined || right === undefined ? null : bitsQualifier(left, right, input.manifest.models);
    },
  });
}
