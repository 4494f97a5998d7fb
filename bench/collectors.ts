/**
 * What does watching the machine cost? A real run of one engine, with runoff's own processor time taken around every look
 * at the system's counters; the canary is left out, since reports state its share of every run themselves.
 * Bar: collectors under 0.5% of a processor.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realMachinery } from '../src/app/machinery.ts';
import type { Machinery } from '../src/app/machinery.ts';
import { measure } from '../src/app/measure.ts';
import { prepareRun } from '../src/app/prepare.ts';
import type { MachineWatch, WatchAsk } from '../src/platform/canary/machine-watch.ts';
import { stopAll } from '../src/platform/process/start-process.ts';
import { createRun } from '../src/store/run-folder.ts';
import { percent } from './table.ts';

const ENGINE = process.argv[3] ?? 'llama-cpp';
const BLOCKS = Number(process.env['BLOCKS'] ?? 6);
const BUDGET_MS = 300_000;
const SHARE_MAX = 0.005;

interface Spent {
  looks: number;
  cpuMs: number;
  wallMs: number;
}

export async function collectors(): Promise<void> {
  const ui = { line() {}, status() {}, done() {} };
  const { signal } = new AbortController();
  const run = await prepareRun({
    asked: { engines: [ENGINE], threads: 1, gpu: 'off', seed: 1, blocks: BLOCKS },
    enginePaths: new Map(),
    mayInstall: async () => true,
    fallback: 'demonstration',
    version: 'bench',
    signal,
    ui,
  });
  const folder = await mkdtemp(join(tmpdir(), 'runoff-bench-'));
  const log = await createRun(join(folder, 'run'), run.manifest);
  const spent: Spent = { looks: 0, cpuMs: 0, wallMs: 0 };
  try {
    const before = process.cpuUsage();
    const startedMs = performance.now();
    await measure({ ...run, log, budgetMs: BUDGET_MS, machinery: counting(realMachinery, spent), signal, ui });
    const runMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(before);
    const share = spent.cpuMs / runMs;
    console.log(`${ENGINE}, ${BLOCKS} blocks, ${(runMs / 1_000).toFixed(0)} s; of one processor:`);
    console.log(
      `collectors  ${percent(share, 2)}  (${spent.looks} looks, ${(spent.cpuMs / spent.looks).toFixed(1)} ms of processor and ${(spent.wallMs / spent.looks).toFixed(1)} ms of time each)  ${share < SHARE_MAX ? 'holds' : 'DOES NOT HOLD'}`,
    );
    console.log(
      `runoff      ${percent((user + system) / 1_000 / runMs, 2)}  (all that its own process did, starts and gates included)`,
    );
  } finally {
    await log.close();
    await stopAll();
    await rm(folder, { recursive: true, force: true });
  }
}

/** On Linux the collectors read files; elsewhere they start programs, whose time is not in here. */
function counting(machinery: Machinery, spent: Spent): Machinery {
  return {
    ...machinery,
    openWatch: async (ask: WatchAsk): Promise<MachineWatch> => {
      const watch = await machinery.openWatch({ ...ask, withCanary: false });
      return {
        ...watch,
        look: async () => {
          const before = process.cpuUsage();
          const startedMs = performance.now();
          const look = await watch.look(null);
          const { user, system } = process.cpuUsage(before);
          spent.looks += 1;
          spent.cpuMs += (user + system) / 1_000;
          spent.wallMs += performance.now() - startedMs;
          return look;
        },
      };
    },
  };
}
