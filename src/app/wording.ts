import type { RunEvent } from '../core/record.ts';
import { describeRetired } from '../core/verdict/retirement.ts';

/** `45 s`, `3.5 min`. */
export function minutes(ms: number): string {
  const seconds = ms / 1_000;
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${(seconds / 60).toFixed(1)} min`;
}

/** What the user reads of an event while the run goes on; null for the many that only the record needs. */
export function describeEvent(event: RunEvent): string | null {
  switch (event.type) {
    case 'gate':
      return event.outcome === 'failed'
        ? `  ✗ ${event.engine}: ${event.gate}: ${event.detail}${event.remedy === null ? '' : `\n    ${event.remedy}`}`
        : null;
    case 'pilot': {
      const prefill = 1_000 / event.prefillMsPerToken;
      const decode = 1_000 / event.decodeMsPerToken;
      return `  ✓ ${event.engine} checked: prefill ~${rough(prefill)} tok/s, decode ~${rough(decode)} tok/s`;
    }
    case 'not-measured':
      return `  – ${event.engine}, ${event.prompt}: not measured: ${event.reason}`;
    case 'look': {
      const lines = event.retired.map(
        (one) =>
          `  – ${one.engine} is ${describeRetired(one, event.blocks)}; ${minutes(one.restMs)} of the ${minutes(event.restMs)} left would be its own.`,
      );
      return lines.length === 0 ? null : [...lines, '    What is not measured is neither a loss nor a tie.'].join('\n');
    }
    case 'warning':
      return `  ! ${event.message}${event.hint === null ? '' : `\n    ${event.hint}`}`;
    case 'block-end':
      return event.state === 'rejected'
        ? `  block ${event.block + 1} was disturbed and does not count: ${event.reasons.join('; ')}`
        : null;
    default:
      return null;
  }
}

/** Before the run: what it can find if blocks spread as they do on a quiet machine. */
export function describeExpected(expected: {
  readonly deviation: number;
  readonly different: number;
  readonly faster: number;
}): string {
  const percent = (ratio: number): string => `${Number((100 * (ratio - 1)).toFixed(1))}%`;
  return `If blocks differ by ${100 * expected.deviation}% as on a quiet machine (an assumption), it finds in 8 of 10 runs: a difference of ${percent(expected.different)}, FASTER from ${percent(expected.faster)} on.`;
}

function rough(rate: number): string {
  return rate >= 100 ? String(Math.round(rate / 10) * 10) : rate.toPrecision(2);
}
