/** Machines that can be measured again and again: simulated ones, and a real one of which a record was taken. */
import { mean } from '../../src/core/stats/describe.ts';
import type { Regime } from './regimes.ts';
import { regimeOf } from './simulate.ts';

export interface Machine {
  /** Different runs that can be had of it, of so many processes with so many requests each. */
  readonly runsOf: (processes: number, requests: number) => number;
  /** The machine during one of them. */
  readonly during: (run: number) => Regime;
}

/** Fewer runs than this tell nothing about how often something goes wrong. */
export const RECORDED_RUNS_MIN = 20;

export function simulatedMachine(name: string, runs: number): Machine {
  return { runsOf: () => runs, during: (run) => regimeOf(name, run) };
}

/**
 * One engine, started again and again, one process after the other: a run is any stretch of the record, so that its waves
 * and jumps are the machine's own. Stretches overlap.
 *
 * @param perProcessMs measured requests of each process, in the order of time, as many for each
 */
export function recordedMachine(perProcessMs: readonly (readonly number[])[]): Machine {
  const typicalMs = mean(perProcessMs.flat());
  const requestsMax = Math.min(...perProcessMs.map((requests) => requests.length));
  return {
    runsOf: (processes, requests) => {
      const stretches = perProcessMs.length - processes + 1;
      return requests > requestsMax || stretches < RECORDED_RUNS_MIN ? 0 : stretches;
    },
    during: (start) => {
      let process: readonly number[] = [];
      let next = 0;
      return {
        cell: (position) => {
          process = perProcessMs[start + position] ?? [];
          next = 0;
          return 0;
        },
        request: () => {
          const ms = process[next];
          if (ms === undefined) throw new TypeError('the record has as many processes and requests as are asked for');
          next += 1;
          return Math.log(ms / typicalMs);
        },
      };
    },
  };
}
