/** Every comparison of a run: the headline's family first, then each prompt and metric. */
import type { Comparison, EngineFacts, Manifest } from '../record.ts';
import type { RetirementRule } from '../retirement-schema.ts';
import { bitsQualifier } from '../verdict/arithmetic.ts';
import { compareFamily, isResolved, MIX_PROMPT } from '../verdict/compare-family.ts';
import type { FamilyInput } from '../verdict/compare-family.ts';
import type { Analysis } from '../verdict/looks.ts';
import { compareStaged } from '../verdict/staged.ts';
import type { Collected } from './collect.ts';
import { count, logs, mixValues, PROMPT_METRICS, promptValues } from './values.ts';
import type { BlockValues, PromptMetric } from './values.ts';
import type { Mix, Work } from './work.ts';

/** One test of a family: the blocks of the run at that time, and how many of them are tested at which level. */
export interface RetiringLook {
  /** Engines that were not measured after it. */
  readonly retired: readonly string[];
  readonly collected: Collected;
  readonly loads: readonly (number | null)[] | null;
  readonly stolen: readonly (number | null)[];
  readonly blocks: number;
  readonly alpha: number;
}

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
  /** Looks after which engines were not measured on. */
  readonly retiring: readonly RetiringLook[];
}

/** @returns the comparisons, and the level that all of them were tested at, but for those with a retired engine. */
export function compareAll(input: FamiliesInput): { readonly comparisons: Comparison[]; readonly alpha: number } {
  const { analysis, retiring } = input;
  const headline = compareMix(input, analysis.alpha);
  const retired = retiring.flatMap((look) => look.retired);
  const settled = isResolved(headline, retired) || analysis.alphaIfUnresolved === analysis.alpha;
  const alpha = settled ? analysis.alpha : analysis.alphaIfUnresolved;
  const prompts = input.manifest.plan.prompts.flatMap(({ name }) =>
    PROMPT_METRICS.flatMap((metric) => comparePrompt(input, { prompt: name, metric, level: alpha })),
  );
  return { comparisons: [...(settled ? headline : compareMix(input, alpha)), ...prompts], alpha };
}

/**
 * Ranked engines outside the mix are listed, NOT_COMPARED.
 * @param level of the last test; a rule instead holds with its ratio as margin, at its level at every look
 */
export function compareMix(input: FamiliesInput, level: number | RetirementRule): Comparison[] {
  const notCompared = new Map(
    input.ranked.flatMap((engine) =>
      input.mix.engines.includes(engine) || input.voided.has(engine)
        ? []
        : [[engine, `${engine} has no completed prompt in common with the others`] as const],
    ),
  );
  return family(input, {
    metric: 'request',
    prompt: MIX_PROMPT,
    level,
    engines: input.ranked,
    read: (collected, engine) => mixValues(collected, engine, input.mix.prompts),
    notCompared,
  });
}

function comparePrompt(
  input: FamiliesInput,
  where: { readonly prompt: string; readonly metric: PromptMetric; readonly level: number },
): Comparison[] {
  const { prompt, metric } = where;
  const read = (collected: Collected, engine: string): BlockValues => promptValues(collected, engine, prompt, metric);
  const notCompared = new Map(
    input.engines.flatMap((engine): (readonly [string, string])[] => {
      const shortened = input.work.shortened(engine.id, prompt);
      if (engine.referenceBackend !== null)
        return [[engine.id, `${engine.id} is an unranked reference backend: ${engine.referenceBackend}`]];
      return shortened === null ? [] : [[engine.id, `${engine.id} did other work: ${shortened}`]];
    }),
  );
  const engines = input.engines.map(({ id }) => id).filter((id) => count(read(input.collected, id)) > 0);
  return family(input, { ...where, engines, read, notCompared });
}

interface Family {
  readonly metric: PromptMetric;
  readonly prompt: string;
  readonly level: number | RetirementRule;
  readonly engines: readonly string[];
  readonly read: (collected: Collected, engine: string) => BlockValues;
  readonly notCompared: ReadonlyMap<string, string>;
}

function family(input: FamiliesInput, { metric, prompt, level, engines, read, notCompared }: Family): Comparison[] {
  const isRule = typeof level !== 'number';
  const find = (id: string): EngineFacts | undefined => input.engines.find((engine) => engine.id === id);
  const { collected, loads, stolen, analysis } = input;
  const last: RetiringLook = {
    retired: [],
    collected,
    loads,
    stolen,
    blocks: analysis.blocks,
    alpha: isRule ? level.alpha : level,
  };
  return compareStaged([...input.retiring, last], (look, settled) =>
    compareFamily({
      metric,
      prompt,
      perEngineLogValues: new Map(
        engines.map((engine) => [engine, logs(read(look.collected, engine).slice(0, look.blocks))]),
      ),
      alpha: isRule ? level.alpha : look.alpha,
      margin: isRule ? level.ratio : input.manifest.plan.margin,
      ...(look.loads === null ? {} : { loads: look.loads.slice(0, look.blocks) }),
      stolen: look.stolen.slice(0, look.blocks),
      // What a look saw does not change when the run turns out noisy.
      override: isRule ? null : input.override,
      voided: input.voided,
      notCompared,
      settled,
      qualify: (a, b) => {
        const [left, right] = [find(a), find(b)];
        return left === undefined || right === undefined ? null : bitsQualifier(left, right, input.manifest.models);
      },
    }),
  );
}
