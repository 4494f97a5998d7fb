/** The overhead ladder in words: one wording for the terminal, Markdown and HTML. */
import type { LadderCost, LadderTokens, Rung } from '../core/ladder-schema.ts';
import { joinWords } from '../core/verdict/wording.ts';
import { count, digits, scaleOf } from './numbers.ts';

/** Prompt name of load and memory. */
export const NO_PROMPT = '-';
/** Where there is no number. */
export const NOTHING = '–';

/** A number and its interval, both ready to print. */
export interface LadderCell {
  readonly value: string;
  readonly interval: string | null;
}

/** How a sentence names the place of a cost. */
export interface CostPlace {
  /** After `0.3 ms more`. */
  readonly more: string;
  /** After `nothing measurable`. */
  readonly nothing: string;
}

/** `+0.31 ms, +3.2%` and its interval; what is claimed of a rung in one column. */
export function costCell(cost: LadderCost | undefined): LadderCell {
  if (cost === undefined) return { value: NOTHING, interval: null };
  const words = amount(cost);
  const text = {
    costs: () => ({ value: `${words.signed}, ${change(cost.ratio)}`, interval: words.signedInterval }),
    saves: () => ({ value: `${words.signed}, ${change(cost.ratio)}`, interval: words.signedInterval }),
    none: () => ({ value: 'none measurable', interval: `within ±${within(cost)}` }),
    unresolved: () => ({ value: 'unresolved', interval: range(cost) }),
    noisy: () => ({ value: 'NOISY', interval: range(cost) }),
    void: () => ({ value: 'VOID', interval: null }),
    'not-compared': () => ({ value: 'not compared', interval: range(cost) }),
  }[cost.state]();
  return cost.preliminary && text.value !== 'NOISY' ? { ...text, value: `PRELIMINARY ${text.value}` } : text;
}

/** `server (on libllama's build): 0.3 ms (0.2 to 0.4) more at the first token, +3%; nothing measurable to load ...` */
export function sentenceOf(
  base: string,
  { engine, build, missing, tokens, costs }: Rung,
  columns: readonly (readonly [CostPlace, LadderCost | undefined])[],
): string {
  if (missing !== null) return `${engine}: not measured: ${missing.replace(/\.?$/, '.')}`;
  if (build === 'base') return `${engine}: the base.`;
  const on = build === 'same' ? `on ${base}'s build` : 'as shipped, build + layer together';
  const voided = costs.find(({ state }) => state === 'void');
  if (voided !== undefined) return `${engine} (${on}): VOID: ${voided.reasons.join('; ').replace(/\.?$/, '.')}`;
  const noisy = costs.find(({ state }) => state === 'noisy');
  if (noisy !== undefined) return `${engine} (${on}): NOISY: ${(noisy.reasons[0] ?? 'too busy').replace(/\.?$/, '.')}`;
  const known = columns.filter((entry): entry is readonly [CostPlace, LadderCost] => entry[1] !== undefined);
  const flag = known.some(([, { preliminary }]) => preliminary) ? 'PRELIMINARY: ' : '';
  const clauses = known.flatMap(([column, cost]) => (cost.state === 'none' ? [] : clause(column, cost)));
  const nothing = known.flatMap(([{ nothing: where }, cost]) =>
    cost.state === 'none' ? `${where} (within ±${within(cost)})` : [],
  );
  const tied = nothing.length === 0 ? [] : [`nothing measurable ${joinWords(nothing)}`];
  return `${engine} (${on}): ${flag}${[...clauses, ...tied, tokensClause(build, tokens)].join('; ')}.`;
}

function clause({ more, nothing }: CostPlace, cost: LadderCost): string {
  const { plain, plainInterval } = amount(cost);
  const size = plainInterval === null ? plain : `${plain} (${plainInterval})`;
  switch (cost.state) {
    case 'costs':
      return `${size} more ${more}, ${change(cost.ratio)}`;
    case 'saves':
      return `${size} less ${more}, ${change(cost.ratio)}`;
    case 'not-compared':
      return `not compared ${nothing}: ${cost.reasons.join('; ')}`;
    default:
      return `unresolved ${nothing}${range(cost) === null ? '' : ` (${range(cost)})`}`;
  }
}

function tokensClause(build: Rung['build'], tokens: LadderTokens): string {
  if (tokens.state === 'unknown') return 'greedy tokens unknown';
  const requests = count(tokens.requestCount, 'request');
  if (tokens.state === 'identical') return `the first ${tokens.tokenCount} greedy tokens identical in ${requests}`;
  const expected = build === 'same' ? '' : ', as is usual between builds';
  return `greedy tokens differ in ${tokens.differentCount} of ${requests}, first at token ${tokens.firstDifferenceAt}${expected}`;
}

export function tokensText({ state, firstDifferenceAt, differentCount, requestCount }: LadderTokens): string {
  if (state === 'base') return 'base';
  if (state === 'unknown') return 'ids unknown';
  if (state === 'identical') return `identical (${requestCount})`;
  return `differ at token ${firstDifferenceAt} (${differentCount} of ${requestCount})`;
}

interface Amount {
  /** For "more" and "less": a saving is turned around, bounds included. */
  readonly plain: string;
  readonly plainInterval: string | null;
  /** For a cell: `+0.31 ms`, `0.25 to 0.37`. */
  readonly signed: string;
  readonly signedInterval: string | null;
}

/** The difference in the unit that its size asks for. */
function amount({ extra, extraLow, extraHigh, unit, state }: LadderCost): Amount {
  if (extra === null) return { plain: NOTHING, plainInterval: null, signed: NOTHING, signedInterval: null };
  const size = Math.max(Math.abs(extra), Math.abs(extraLow ?? 0), Math.abs(extraHigh ?? 0));
  const { divisor, unit: name } = unitOf(size, unit);
  const show = (value: number): string => digits(value / divisor);
  const between = (low: number | null, high: number | null): string | null =>
    low === null || high === null ? null : `${show(low)} to ${show(high)}`;
  const isTurned = state === 'saves';
  const negative = (value: number | null): number | null => (value === null ? null : -value);
  return {
    plain: `${show(isTurned ? -extra : extra)} ${name}`,
    plainInterval: isTurned ? between(negative(extraHigh), negative(extraLow)) : between(extraLow, extraHigh),
    signed: `${extra < 0 ? '' : '+'}${show(extra)} ${name}`,
    signedInterval: between(extraLow, extraHigh),
  };
}

const MS_IN_US = 1_000;

function unitOf(size: number, unit: LadderCost['unit']): { readonly divisor: number; readonly unit: string } {
  if (unit !== 'us/token') return scaleOf({ estimate: size, unit });
  return size >= MS_IN_US ? { divisor: MS_IN_US, unit: 'ms' } : { divisor: 1, unit: 'µs' };
}

/** `+5.2%`, `-1.3%`, and from a doubling on `2.31x`. */
function change(ratio: number | null): string {
  if (ratio === null) return 'no ratio';
  if (ratio >= 2) return `${digits(ratio)}x`;
  const share = Number((100 * (ratio - 1)).toFixed(1));
  return `${share < 0 ? '-' : '+'}${Math.abs(share).toFixed(Math.abs(share) < 10 ? 1 : 0)}%`;
}

/** The wider half of the interval, rounded up: what may hide in "nothing". */
function within({ low, high }: LadderCost): string {
  const half = Math.max((high ?? 1) - 1, 1 - (low ?? 1));
  return `${Math.max(1, Math.ceil(1_000 * half)) / 10}%`;
}

function range({ low, high, ratio }: LadderCost): string | null {
  if (low === null || high === null) return ratio === null ? null : `about ${change(ratio)}`;
  return `${change(low)} to ${change(high)}`;
}

const METRIC_WORDS = {
  request: 'request time',
  ttft: 'first token',
  prefill: 'per prompt token',
  decode: 'per generated token',
  load: 'load',
  memory: 'peak memory',
} as const;

export function whatOf({ metric, prompt }: LadderCost): string {
  return prompt === NO_PROMPT ? METRIC_WORDS[metric] : `${METRIC_WORDS[metric]}, ${prompt}`;
}
