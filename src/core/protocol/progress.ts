/** What a run did so far, and what it has to do next. Pure bookkeeping. */
import type { RunEvent } from '../record.ts';
import type { DoneBlock, DoneCell, Progress } from './plan-types.ts';

/** Code of the warning that a `drop-engine` action leaves in the run. */
export const DROPPED_CODE = 'engine-dropped';

type Place = { readonly block: number; readonly attempt: number };

function samePlace(left: Place, right: Place): boolean {
  return left.block === right.block && left.attempt === right.attempt;
}

/**
 * Rebuilds the progress of a run from its events, so that it can be resumed. A block that was open when a session
 * ended is `abandoned`: its cells lie too far apart in time to be compared. A look that was taken has spent its level
 * and is not taken again.
 */
export function progressFromEvents(events: readonly RunEvent[]): Progress {
  const cells: DoneCell[] = [];
  const blocks: DoneBlock[] = [];
  let opened: { engine: string; block: number; attempt: number; elapsedMs: number } | null = null;
  const abandonOpenBlocks = (): void => {
    if (opened !== null)
      cells.push({ engine: opened.engine, block: opened.block, attempt: opened.attempt, state: 'cut', durationMs: 0 });
    opened = null;
    const open = cells.filter((cell) => !blocks.some((block) => samePlace(block, cell)));
    for (const { block, attempt } of open) {
      if (!blocks.some((done) => samePlace(done, { block, attempt })))
        blocks.push({ block, attempt, state: 'abandoned', reasons: [] });
    }
  };
  for (const event of events) {
    if (event.type === 'session' || event.type === 'end') abandonOpenBlocks();
    if (event.type === 'cell-start') opened = event;
    if (event.type === 'cell-end') {
      const durationMs = opened === null ? 0 : Math.max(0, event.elapsedMs - opened.elapsedMs);
      cells.push({ engine: event.engine, block: event.block, attempt: event.attempt, state: event.state, durationMs });
      opened = null;
    }
    if (event.type === 'block-end')
      blocks.push({ block: event.block, attempt: event.attempt, state: event.state, reasons: event.reasons });
  }
  abandonOpenBlocks();
  const dropped = events.flatMap((event) =>
    event.type === 'warning' && event.code === DROPPED_CODE && event.engine !== null ? [event.engine] : [],
  );
  const looks = events.filter((event) => event.type === 'look');
  const retired = looks.flatMap((look) => look.retired.map(({ engine }) => engine));
  return {
    cells,
    blocks,
    looks: looks.map((look) => ({ blocks: look.blocks, resolved: look.resolved })),
    dropped: [...new Set(dropped)],
    retired: [...new Set(retired)],
  };
}

/** Numbers of the blocks that have an accepted attempt, in order of acceptance. */
export function acceptedBlocks(blocks: readonly DoneBlock[]): number[] {
  return [...new Set(blocks.filter(({ state }) => state === 'accepted').map(({ block }) => block))];
}

export interface NextBlock extends Place {
  /** The other half of a mirrored pair that has to follow; null for the second half or an odd last block. */
  readonly partner: number | null;
}

/**
 * The block to run next, or null when every block is accepted. Pairs (0,1), (2,3), ... in order; a pair with a rejected
 * half is run again as a whole, after all first runs. An abandoned attempt is repeated at once and does not count.
 */
export function nextBlock(blocks: readonly DoneBlock[], planned: number): NextBlock | null {
  const rounds = (block: number): number =>
    blocks.filter((done) => done.block === block && done.state !== 'abandoned').length;
  const attempts = (block: number): number => blocks.filter((done) => done.block === block).length;
  const accepted = acceptedBlocks(blocks);
  const pairs = Array.from({ length: Math.ceil(planned / 2) }, (_, index) => {
    const [first, second] = [2 * index, 2 * index + 1 < planned ? 2 * index + 1 : null];
    return { first, second, rounds: rounds(first), secondRounds: second === null ? rounds(first) : rounds(second) };
  });
  const torn = pairs.find((pair) => pair.secondRounds < pair.rounds);
  if (torn?.second != null) return { block: torn.second, attempt: attempts(torn.second), partner: null };
  const open = pairs.filter(
    ({ first, second }) => !accepted.includes(first) || (second !== null && !accepted.includes(second)),
  );
  const [next] = open.toSorted((left, right) => left.rounds - right.rounds);
  return next === undefined ? null : { block: next.first, attempt: attempts(next.first), partner: next.second };
}
