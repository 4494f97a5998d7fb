/** What each rung of a ladder costs against its base: the verdict's own pairing and tests, on times and memory. */
import { assert } from '../assert.ts';
import type { LadderCost } from '../ladder-schema.ts';
import type { Comparison, EngineFacts, Manifest } from '../record.ts';
import { mean, meanInterval } from '../stats/describe.ts';
import { holm } from '../stats/holm.ts';
import { BLOCKS_MIN, compareFamily } from '../verdict/compare-family.ts';
import type { FamilyInput } from '../verdict/compare-family.ts';
import { stealBias } from '../validity/load.ts';
import { crossCheck } from '../verdict/cross-check.ts';
import { ALPHA } from '../verdict/looks.ts';
import type { Analysis } from '../verdict/looks.ts';
import type { Collected } from './collect.ts';
import { PROCESS_PROMPT } from './summaries.ts';
import { count, logs, processValues, PROMPT_METRICS, promptValues } from './values.ts';
import type { BlockValues } from './values.ts';
import type { Work } from './work.ts';

export interface CostsInput {
  readonly manifest: Manifest;
  /** Measured engines. */
  readonly engines: readonly EngineFacts[];
  readonly collected: Collected;
  readonly work: Work;
  readonly voided: ReadonlyMap<string, string>;
  readonly analysis: Analysis;
  /** Level of the run's comparisons. */
  readonly alpha: number;
  readonly override: NonNullable<FamilyInput['override']> | null;
  /** ln slowdown by the hypervisor, by accepted block. */
  readonly stolen: readonly (number | null)[];
}

/** A metric turned so that less is better: rates become times per token. */
interface Quantity {
  readonly metric: LadderCost['metric'];
  readonly prompt: string;
  readonly unit: LadderCost['unit'];
  readonly read: (engine: string) => BlockValues;
}

/** By engine, the base left out: one cost for every metric and prompt that both were measured in. */
export function costsAgainst(base: string, input: CostsInput): Map<string, LadderCost[]> {
  const costs = quantities(input).flatMap((quantity) => compareOne(base, quantity, input));
  const byEngine = Map.groupBy(costs, ({ engine }) => engine);
  return new Map([...byEngine].map(([engine, list]) => [engine, list.map(({ cost }) => cost)]));
}

const UNITS = { request: 'ms', ttft: 'ms', prefill: 'us/token', decode: 'us/token' } as const;

function quantities({ manifest, collected }: CostsInput): Quantity[] {
  const isRate = (metric: string): boolean => metric === 'prefill' || metric === 'decode';
  const perPrompt = manifest.plan.prompts.flatMap(({ name }) =>
    PROMPT_METRICS.map((metric): Quantity => {
      const read = (engine: string): BlockValues => promptValues(collected, engine, name, metric);
      return { metric, prompt: name, unit: UNITS[metric], read: isRate(metric) ? (id) => perToken(read(id)) : read };
    }),
  );
  const perProcess = (['load', 'memory'] as const).map((metric): Quantity => {
    const read = (engine: string): BlockValues => processValues(collected, engine, metric);
    return { metric, prompt: PROCESS_PROMPT, unit: metric === 'load' ? 'ms' : 'bytes', read };
  });
  return [...perPrompt, ...perProcess];
}

/** Tokens per second to microseconds per token. */
function perToken(rates: BlockValues): BlockValues {
  return rates.map((rate) => (rate === null ? null : 1e6 / rate));
}

interface Costed {
  readonly engine: string;
  readonly cost: LadderCost;
}

function compareOne(base: string, quantity: Quantity, input: CostsInput): Costed[] {
  const { engines, analysis, alpha, override, voided, manifest } = input;
  // The base comes first, so that a ratio above 1 says that the rung takes more.
  const order = [base, ...engines.map(({ id }) => id).filter((id) => id !== base)];
  const values = new Map(
    order
      .map((id) => [id, quantity.read(id).slice(0, analysis.blocks)] as const)
      .filter(([, column]) => count(column) > 0),
  );
  if (!values.has(base)) return [];
  const comparisons = compareFamily({
    // Less is better in every quantity here, as in the request time.
    metric: 'request',
    prompt: quantity.prompt,
    perEngineLogValues: new Map([...values].map(([id, column]) => [id, logs(column)])),
    against: base,
    alpha,
    margin: manifest.plan.margin,
    stolen: input.stolen.slice(0, analysis.blocks),
    override,
    voided,
    notCompared: notCompared(input, quantity.prompt),
  });
  const shown = differencesShown(comparisons, values, input);
  return comparisons.map((comparison) => {
    const { b } = comparison;
    const pairs = pairsOf(values.get(base), values.get(b));
    const state = stateOf(comparison, shown.has(b), override !== null);
    const extra = extraOf(comparison, pairs, {
      localAlpha: alpha / shown.familySize,
      bias: biasOf(input),
    });
    return { engine: b, cost: { ...toCost(comparison, quantity, state), ...extra } };
  });
}

function notCompared({ engines, work }: CostsInput, prompt: string): Map<string, string> {
  return new Map(
    engines.flatMap(({ id, referenceBackend }): (readonly [string, string])[] => {
      const shortened = work.shortened(id, prompt);
      if (referenceBackend !== null) return [[id, `${id} is an unranked reference backend: ${referenceBackend}`]];
      return shortened === null ? [] : [[id, `${id} did other work: ${shortened}`]];
    }),
  );
}

/** ln of what unequal suffering from the hypervisor may have done to a ratio; see stealBias. */
function biasOf({ stolen, analysis }: CostsInput): number {
  return stealBias(stolen.slice(0, analysis.blocks));
}

interface Shown {
  readonly has: (engine: string) => boolean;
  /** Pairs that share the level. */
  readonly familySize: number;
}

/**
 * Rungs whose difference is shown, however small: Holm over the family, cross-checked by ranks. The verdict EQUIVALENT
 * does not tell, because a cost can be certain and inside the margin at once.
 */
function differencesShown(
  comparisons: readonly Comparison[],
  values: ReadonlyMap<string, BlockValues>,
  input: CostsInput,
): Shown {
  const { alpha, manifest } = input;
  const family = comparisons.filter(({ verdict }) => verdict !== 'VOID' && verdict !== 'NOT_COMPARED');
  const levels = holm(
    family.map(({ pDifferent }) => pDifferent ?? 1),
    alpha,
  );
  const bias = biasOf(input);
  const shown = family.filter(({ a, b }, index) => {
    const level = levels[index];
    assert(level !== undefined, 'every pair of the family has its level');
    if (!level.rejected) return false;
    const gains = pairsOf(values.get(a), values.get(b)).map(([of, other]) => Math.log(other / of));
    const { localAlpha } = level;
    const { margin } = manifest.plan;
    return crossCheck({ verdict: 'SLIGHTLY_FASTER', localAlpha, gains, margin, bias }).verdict === 'SLIGHTLY_FASTER';
  });
  const engines = new Set(shown.map(({ b }) => b));
  return { has: (engine) => engines.has(engine), familySize: Math.max(1, family.length) };
}

function stateOf({ verdict, ratio }: Comparison, isShown: boolean, isOverridden: boolean): LadderCost['state'] {
  if (verdict === 'VOID') return 'void';
  if (verdict === 'NOT_COMPARED') return 'not-compared';
  if (verdict === 'NOISY') return 'noisy';
  if (isOverridden) return 'unresolved';
  if (isShown) return (ratio ?? 1) > 1 ? 'costs' : 'saves';
  return verdict === 'EQUIVALENT' ? 'none' : 'unresolved';
}

/** Rung - base in the quantity's unit, at the level of the ratio's interval and with its room for steal; nothing for a void pair. */
function extraOf(
  { verdict }: Comparison,
  pairs: readonly (readonly [number, number])[],
  { localAlpha, bias }: { readonly localAlpha: number; readonly bias: number },
): Pick<LadderCost, 'extra' | 'extraLow' | 'extraHigh'> {
  if (verdict === 'VOID' || pairs.length === 0) return { extra: null, extraLow: null, extraHigh: null };
  const differences = pairs.map(([base, rung]) => rung - base);
  if (differences.length < BLOCKS_MIN) return { extra: mean(differences), extraLow: null, extraHigh: null };
  const confidence = 1 - (verdict === 'NOT_COMPARED' ? ALPHA : localAlpha);
  const { estimate, low, high } = meanInterval(differences, confidence);
  const room = Math.expm1(bias) * mean(pairs.map(([base]) => base));
  return { extra: estimate, extraLow: low - room, extraHigh: high + room };
}

/** Values of both in the blocks that they have in common. */
function pairsOf(left: BlockValues | undefined, right: BlockValues | undefined): (readonly [number, number])[] {
  return (left ?? []).flatMap((value, block) => {
    const other = right?.[block] ?? null;
    return value === null || other === null ? [] : [[value, other] as const];
  });
}

function toCost(
  comparison: Comparison,
  { metric, prompt, unit }: Quantity,
  state: LadderCost['state'],
): Omit<LadderCost, 'extra' | 'extraLow' | 'extraHigh'> {
  const { blockCount, ratio, low, high, confidence, preliminary, reasons } = comparison;
  // Reasons of a shown cost or of none speak of FASTER and of the margin, which is not what is stated here.
  const isStated = state === 'costs' || state === 'saves' || state === 'none';
  return {
    metric,
    prompt,
    unit,
    blockCount,
    state,
    ratio,
    low,
    high,
    confidence,
    preliminary,
    reasons: isStated ? [] : reasons,
  };
}
