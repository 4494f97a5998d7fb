/** How often and how long the machine is looked at: as much as costs less than a tenth of the run. */

/** Longest reading of each kind: from 80 to 250 ms on all threads the canary follows engine times well. */
const DURATION_MS_MAX = 150;
/** Below this it follows them badly: then rather fewer. */
const DURATION_MS_MIN = 80;
/** Of a cell's time for the look after it; calibration and the system's counters come on top, the sum stays under 10%. */
const CELL_SHARE_MAX = 0.06;
/** Of the run's time for the looks before its first block. */
const CALIBRATION_SHARE_MAX = 0.025;
const CALIBRATIONS_MAX = 8;
const CALIBRATIONS_MIN = 3;
/** Reading and computing. */
const KINDS = 2;

export interface CanaryCost {
  readonly mode: 'cells' | 'blocks' | 'off';
  /** Why not around every process; null where it is. */
  readonly reason: string | null;
  /** Of reading and of computing, each. */
  readonly durationMs: number;
  readonly calibrations: number;
}

/**
 * Two processes that follow each other share the look between them, so that a cell costs one. Short cells get shorter
 * looks, still shorter ones looks around blocks only, and where even that is too dear there is no canary.
 * @param cellMs mean predicted time of a process in a block; `cellsPerBlock` of those on the CPU
 */
export function planCanary(input: {
  readonly cellMs: number;
  readonly cellsPerBlock: number;
  readonly runMs: number;
}): CanaryCost {
  const { cellMs, cellsPerBlock, runMs } = input;
  if (cellsPerBlock === 0) return off('every engine computes on a GPU, which a load on the CPU says nothing about');
  const affordable = (spanMs: number): number => Math.min(DURATION_MS_MAX, (CELL_SHARE_MAX * spanMs) / KINDS);
  const perCell = affordable(cellMs);
  const perBlock = affordable(cellMs * cellsPerBlock);
  const durationMs = Math.round(perCell >= DURATION_MS_MIN ? perCell : perBlock);
  const calibrations = Math.min(CALIBRATIONS_MAX, Math.floor((CALIBRATION_SHARE_MAX * runMs) / (KINDS * durationMs)));
  if (durationMs < DURATION_MS_MIN || calibrations < CALIBRATIONS_MIN) {
    return off('processes are too short here: it would take more than a tenth of the time');
  }
  return perCell >= DURATION_MS_MIN
    ? { mode: 'cells', reason: null, durationMs, calibrations }
    : { mode: 'blocks', reason: 'processes are short here', durationMs, calibrations };
}

function off(reason: string): CanaryCost {
  return { mode: 'off', reason: `no canary: ${reason}`, durationMs: 0, calibrations: 0 };
}

/** What one process costs more because of the looks, ms. */
export function lookMs({ mode, durationMs }: CanaryCost, cellsPerBlock: number): number {
  if (mode === 'off') return 0;
  return (KINDS * durationMs) / (mode === 'cells' ? 1 : Math.max(1, cellsPerBlock));
}
