/** What a run saw whose blocks were all disturbed: it compares nothing, but minutes of measuring are not for nothing. */
import type { RunEvent } from '../record.ts';
import { median } from '../stats/describe.ts';
import { sentence } from '../verdict/wording.ts';
import type { Collected } from './collect.ts';

const MS_PER_S = 1_000;

/** One sentence per engine: request times of its disturbed blocks, by prompt. Nothing while a block was accepted, or may still be. */
export function disturbedCaveats(events: readonly RunEvent[], collected: Collected, ended: boolean): string[] {
  if (!ended || collected.acceptedBlocks.length > 0 || collected.rejected.length === 0) return [];
  const measured = events.filter((event) => event.type === 'sample').filter(({ kind }) => kind === 'measured');
  return [...Map.groupBy(measured, ({ engine }) => engine)].map(([engine, samples]) => {
    const prompts = [...Map.groupBy(samples, ({ prompt }) => prompt)].map(([prompt, requests]) => {
      return `"${prompt}" ${spread(requests.map(({ totalMs }) => totalMs))}`;
    });
    return sentence(`Seen in disturbed blocks, good for no comparison: ${engine} took ${prompts.join(', ')}`);
  });
}

function spread(times: readonly number[]): string {
  const middle = seconds(median([...times]));
  if (times.length === 1) return `${middle} (1 request)`;
  return `${middle} (${seconds(Math.min(...times))} to ${seconds(Math.max(...times))}, ${times.length} requests)`;
}

function seconds(ms: number): string {
  return `${(ms / MS_PER_S).toPrecision(3)} s`;
}
