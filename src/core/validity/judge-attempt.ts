/** Does a try of a block count? By what ran beside its processes, and by the looks at the machine around them. */
import type { EngineFacts, RunEvent } from '../record.ts';
import { judgeBlock } from './machine-checks.ts';
import { comparedCells, isBlockNoisy, usualSteal } from './noise.ts';

/** As many as a record keeps. */
const REASONS_MAX = 50;

export interface AttemptJudgement {
  /** Why it is run again; empty: it counts. */
  readonly reasons: string[];
  /** It counts although the machine is slower than before: it has settled there. Null where it is not. */
  readonly sustained: string | null;
}

/**
 * @param events the log up to the last look at the machine of this try, which is the last one that it holds
 * @param engines of the manifest: what disturbs an unranked one among ranked ones spoils nothing
 */
export function judgeAttempt(
  events: readonly RunEvent[],
  engines: readonly Pick<EngineFacts, 'id' | 'referenceBackend'>[],
  { block, attempt }: { readonly block: number; readonly attempt: number },
): AttemptJudgement {
  const ended = comparedCells(endedCells(events), engines);
  const own = ended.filter((cell) => cell.block === block && cell.attempt === attempt);
  const { disturbances, sustained } = judgeBlock(events);
  const reasons = [...isBlockNoisy(own, usualSteal(ended)), ...disturbances.map(({ reason }) => reason)];
  return { reasons: reasons.slice(0, REASONS_MAX), sustained };
}

/** Of the last session: what the hypervisor took yesterday says nothing about today. */
function endedCells(events: readonly RunEvent[]): Extract<RunEvent, { type: 'cell-end' }>[] {
  const start = events.findLastIndex(({ type }) => type === 'session');
  return events
    .slice(start + 1)
    .filter((event) => event.type === 'cell-end')
    .filter(({ state }) => state === 'complete');
}
