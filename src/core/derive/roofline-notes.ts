/** The roofline in words: puzzles that it solves, where they show in a run. */
import type { Manifest } from '../record.ts';
import type { Roofline, RooflineRow } from '../roofline-schema.ts';
import { median } from '../stats/describe.ts';
import { formatPercent, joinWords } from '../verdict/wording.ts';
import type { Collected } from './collect.ts';
import { promptValues } from './values.ts';

/** Below this share of the bandwidth most of a token's time is something else. */
const FIXED_COST_SHARE = 0.6;
/** Prompts whose lengths differ by this much must differ in time, unless one of them was cut. */
const LENGTH_RATIO = 1.5;
const EQUAL_TIME_RATIO = 1.15;
/** Of both prompts: below it, start-up hides the difference. */
const PROMPT_TOKENS_MIN = 256;
const FLOPS_PER_PARAMETER = 2;
/** Weights that fit into the cache are not read from memory. */
export const CACHE_FACTOR = 4;

export interface NotesInput {
  readonly manifest: Manifest;
  readonly rows: readonly RooflineRow[];
  readonly limits: Pick<Roofline, 'readBytesPerS' | 'flopsPerS'>;
  readonly collected: Collected;
}

export function explainRoofline(input: NotesInput): string[] {
  return [...scaling(input), ...cached(input), ...fixedCosts(input), ...equalTimes(input)].slice(0, 50);
}

/** Why prefill falls with the size of a model while decode follows its bytes. */
function scaling({ manifest, rows }: NotesInput): string[] {
  const parameters = manifest.models[0]?.traffic?.multipliedParametersPerToken ?? 0;
  const [row] = rows;
  if (row === undefined || parameters === 0) return [];
  return [
    `A prompt token of this model costs ${amount(FLOPS_PER_PARAMETER * parameters)}FLOP and a generated one reads ${amount(row.bytesPerToken)}B: ` +
      'prefill is bound by arithmetic and falls with the number of parameters, in whatever format; decode is bound by memory and follows the bytes, so that fewer bits per weight help it most.',
  ];
}

/** A limit of memory is none for what does not come from memory. */
function cached({ manifest, rows }: NotesInput): string[] {
  const { cacheBytes } = manifest.machine;
  const largest = Math.max(...rows.map(({ bytesPerToken }) => bytesPerToken));
  if (cacheBytes === undefined || cacheBytes === null || largest > CACHE_FACTOR * cacheBytes) return [];
  return [
    `Part of these bytes can come from the cache of ${amount(cacheBytes)}B: an engine may pass 100% of the limit, and only a model of more than ${amount(CACHE_FACTOR * cacheBytes)}B is held against it.`,
  ];
}

/** The small model that seemed slow: what does not shrink with the model. */
function fixedCosts({ rows }: NotesInput): string[] {
  const byEngine = Map.groupBy(rows, ({ engine }) => engine);
  return [...byEngine].flatMap(([engine, own]) => {
    const [worst] = own
      .filter(({ decode, decodeShare }) => decode !== null && decodeShare !== null)
      .toSorted((left, right) => (left.decodeShare ?? 0) - (right.decodeShare ?? 0));
    if (worst === undefined || worst.decode === null || (worst.decodeShare ?? 1) >= FIXED_COST_SHARE) return [];
    const tokenMs = 1_000 / worst.decode;
    const readMs = 1_000 / worst.decodeLimit;
    return [
      `${engine} needs ${tokenMs.toFixed(1)} ms per token, of which reading takes at least ${readMs.toFixed(1)} ms (${formatPercent(worst.decodeShare ?? 0)} of the limit): ` +
        'the rest is arithmetic, and costs that do not shrink with the model: starting threads and waiting for them, sampling, bookkeeping. A model of half the bytes would be less than twice as fast here.',
    ];
  });
}

/** Equal times for a long and a very long prompt: an engine cannot do that unless it reads less than it was sent. */
function equalTimes({ manifest, rows, collected }: NotesInput): string[] {
  const engines = [...new Set(rows.map(({ engine }) => engine))];
  const prompts = manifest.plan.prompts
    .filter(({ tokenCount }) => tokenCount >= PROMPT_TOKENS_MIN)
    .toSorted((left, right) => left.tokenCount - right.tokenCount);
  return engines.flatMap((engine) => {
    const timed = prompts.flatMap((prompt) => {
      const values = promptValues(collected, engine, prompt.name, 'ttft').filter((value) => value !== null);
      return values.length === 0 ? [] : [{ ...prompt, ttftMs: median(values) }];
    });
    const equal = timed.flatMap((long, index) =>
      timed
        .slice(index + 1)
        .filter(
          (longer) =>
            longer.tokenCount >= LENGTH_RATIO * long.tokenCount && longer.ttftMs < EQUAL_TIME_RATIO * long.ttftMs,
        )
        .map((longer) => `"${long.name}" and "${longer.name}"`),
    );
    return equal.length === 0
      ? []
      : [
          `${engine} takes as long for the first token of ${joinWords(equal)}: one of them was cut, or came from a cache (see the gates on truncation and caching).`,
        ];
  });
}

/** `270 MFLOP`, `90.6 MB`: three digits with a prefix; the unit follows. */
function amount(value: number): string {
  const steps = [
    { size: 1e12, prefix: 'T' },
    { size: 1e9, prefix: 'G' },
    { size: 1e6, prefix: 'M' },
  ];
  const { size, prefix } = steps.find((step) => value >= step.size) ?? { size: 1e3, prefix: 'k' };
  return `${Number((value / size).toPrecision(3))} ${prefix}`;
}
