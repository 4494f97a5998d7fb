/** What `runoff tune` prints at its end. */
import { gainOver } from './tune.ts';
import type { TuneResult } from './tune.ts';

export interface TuneText {
  readonly engine: string;
  readonly model: string;
  readonly machine: string;
}

/** Lines: what was found first, then every race. */
export function describeTuning(result: TuneResult, { engine, model, machine }: TuneText): string[] {
  return [
    conclusion(result, engine),
    '',
    ...result.knobs.map(({ name, before, tried, chosen }) => {
      const told = tried.map(({ label, gain, verdict }) =>
        gain === null
          ? `${label}: not measured`
          : `${label}: ${gain.toFixed(2)}x${verdict === 'NOISY' ? ' (noisy)' : ''}`,
      );
      const list = told.length === 0 ? 'nothing else to try' : told.join(', ');
      return `  ${name.padEnd(16)} ${before}${chosen === null ? ' stays' : ` -> ${chosen}`}; ${list}`;
    }),
    ...(result.threadsNote === null ? [] : ['', result.threadsNote]),
    '',
    `x: time with the value in force over time with this one, above 1 is quicker. ${engine}, ${model}, ${machine}.`,
  ];
}

function conclusion({ state, proposed, settings, confirmation }: TuneResult, engine: string): string {
  const text = Object.entries(proposed)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
  if (state === 'interrupted') return `Interrupted: nothing was kept for ${engine}.`;
  if (text === '') return `The defaults stay for ${engine}: nothing that was tried is faster beyond doubt.`;
  if (confirmation === null)
    return `${text} won its race, but there was no time left to confirm it: nothing was kept. Give more --budget.`;
  const [gain, low, high] = gainOver(confirmation, engine);
  const bounds = low === null || high === null ? '' : ` (95% ${low.toFixed(2)}-${high.toFixed(2)})`;
  const told = `${gain?.toFixed(2) ?? '?'}x${bounds}`;
  return Object.keys(settings).length === 0
    ? `${text} won its race but was not confirmed (${confirmation.verdict}, ${told}): the defaults stay.`
    : `Tuned: ${engine} with ${text} is ${told} as fast as with the defaults. Kept; runoff run --tuned uses it.`;
}
