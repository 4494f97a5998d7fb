/** One line per engine, prompt and metric. */
import type { Manifest, Summary } from '../record.ts';
import { geometricMean } from '../stats/describe.ts';
import { MIX_PROMPT } from '../verdict/compare-family.ts';
import type { Collected } from './collect.ts';
import { mixValues, processValues, PROMPT_METRICS, promptValues } from './values.ts';
import type { BlockValues } from './values.ts';
import type { Mix, Work } from './work.ts';

/** Prompt name of what belongs to a process, not to a prompt. */
export const PROCESS_PROMPT = '-';

const UNITS = {
  request: 'ms',
  ttft: 'ms',
  prefill: 'tokens/s',
  decode: 'tokens/s',
  load: 'ms',
  memory: 'bytes',
} as const;

export function summarise(input: {
  readonly manifest: Manifest;
  readonly engines: readonly string[];
  readonly collected: Collected;
  readonly work: Work;
  readonly mix: Mix;
}): Summary[] {
  const { manifest, engines, collected, work, mix } = input;
  const make = (engine: string, prompt: string, metric: Summary['metric'], values: BlockValues): Summary[] => {
    const ordered = inBlockOrder(collected, values);
    if (ordered.length === 0) return [];
    const shortened = work.shortened(engine, prompt);
    return [
      {
        engine,
        prompt,
        metric,
        unit: UNITS[metric],
        blockCount: ordered.length,
        ...geometricMean(ordered),
        values: ordered,
        shortened,
      },
    ];
  };
  return engines.flatMap((engine) => [
    ...(mix.engines.includes(engine) && mix.prompts.length > 0
      ? make(engine, MIX_PROMPT, 'request', mixValues(collected, engine, mix.prompts))
      : []),
    ...manifest.plan.prompts.flatMap(({ name }) =>
      PROMPT_METRICS.flatMap((metric) => make(engine, name, metric, promptValues(collected, engine, name, metric))),
    ),
    ...make(engine, PROCESS_PROMPT, 'load', processValues(collected, engine, 'load')),
    ...make(engine, PROCESS_PROMPT, 'memory', processValues(collected, engine, 'memory')),
  ]);
}

function inBlockOrder(collected: Collected, values: BlockValues): number[] {
  return collected.acceptedBlocks
    .map((block, index) => ({ block, value: values[index] ?? null }))
    .toSorted((left, right) => left.block - right.block)
    .flatMap(({ value }) => (value === null ? [] : [value]));
}
