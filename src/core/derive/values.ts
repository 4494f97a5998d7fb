/** One number per engine, block, prompt and metric. Definitions: docs/METHODOLOGY.md. */
import type { Metric, Sample } from '../record.ts';
import { fasterMean, mean } from '../stats/describe.ts';
import type { CellData, Collected } from './collect.ts';

/** No prefill rate below: the fixed part of a request would be most of it (correction 13). */
const PREFILL_TOKENS_MIN = 128;
/** No decode rate below: at 2 tokens client and server differ by up to 35%, at 96 by less than 1%. */
const DECODE_TOKENS_MIN = 64;

export type PromptMetric = Extract<Metric, 'request' | 'ttft' | 'prefill' | 'decode'>;
export const PROMPT_METRICS = ['request', 'ttft', 'prefill', 'decode'] as const satisfies readonly PromptMetric[];

/** By block, in the order of `Collected.acceptedBlocks`; null where the engine has no value. */
export type BlockValues = readonly (number | null)[];

const RATES: ReadonlySet<PromptMetric> = new Set(['prefill', 'decode']);

/** Over the measured iterations of each block: the mean of the faster ones, of rates that of the times behind them. */
export function promptValues(collected: Collected, engine: string, prompt: string, metric: PromptMetric): BlockValues {
  return byBlock(collected, engine, (cell) => {
    const samples = measuredSamples(cell, prompt);
    const values = samples.map((sample) => readMetric(sample, metric));
    // A process where one iteration lacks the metric has none: a mean over a part is another estimand.
    const known = values.filter((value) => value !== null && value > 0) as number[];
    if (known.length === 0 || known.length < values.length) return null;
    return RATES.has(metric) ? 1 / fasterMean(known.map((rate) => 1 / rate)) : fasterMean(known);
  });
}

/** Mean over the prompts of the blocks' request times: every prompt counts the same, a long one weighs by its time. */
export function mixValues(collected: Collected, engine: string, prompts: readonly string[]): BlockValues {
  const columns = prompts.map((prompt) => promptValues(collected, engine, prompt, 'request'));
  return collected.acceptedBlocks.map((_, index) => {
    const values = columns.map((column) => column[index] ?? null).filter((value) => value !== null);
    return values.length === 0 || values.length < prompts.length ? null : mean(values);
  });
}

export function processValues(collected: Collected, engine: string, metric: 'load' | 'memory'): BlockValues {
  return byBlock(collected, engine, (cell) => {
    const value = metric === 'load' ? cell.loadMs : cell.memory.peakBytes;
    return value !== null && value > 0 ? value : null;
  });
}

export function measuredSamples(cell: CellData, prompt: string): Sample[] {
  return cell.samples.filter((sample) => sample.kind === 'measured' && sample.prompt === prompt);
}

export function logs(values: BlockValues): (number | null)[] {
  return values.map((value) => (value === null ? null : Math.log(value)));
}

export function count(values: BlockValues): number {
  return values.filter((value) => value !== null).length;
}

function byBlock(collected: Collected, engine: string, read: (cell: CellData) => number | null): BlockValues {
  return collected.acceptedBlocks.map((block) => {
    const cell = collected.cellAt(engine, block);
    return cell === undefined ? null : read(cell);
  });
}

function readMetric(sample: Sample, metric: PromptMetric): number | null {
  switch (metric) {
    case 'request':
      return sample.totalMs;
    case 'ttft':
      return sample.ttftMs;
    case 'prefill': {
      const uncached = sample.promptTokens - (sample.cachedTokens ?? 0);
      return uncached < PREFILL_TOKENS_MIN || sample.ttftMs <= 0 ? null : (1_000 * uncached) / sample.ttftMs;
    }
    case 'decode':
      return sample.generatedTokens < DECODE_TOKENS_MIN || sample.tpotMs === null || sample.tpotMs <= 0
        ? null
        : 1_000 / sample.tpotMs;
  }
}
