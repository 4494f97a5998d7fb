/**
 * Selftests in a row, as a user starts them: the same engine twice must never come out FASTER, and an injected 30% must
 * be found or the run be called noisy, never the wrong way round. In half of them another process keeps a core half busy.
 * Bars: no FASTER in any A/A; 30% found in at least 7 of 10 runs without the neighbour, never with the wrong sign.
 */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RESULT_FILE, SELFTEST_PLAN } from '../src/app/selftest/selftest.ts';
import type { SelftestResult } from '../src/app/selftest/selftest.ts';

const RUNS = Number(process.env['RUNS'] ?? 20);
/** The command's own default: half of it goes into the checks, and fewer than four blocks tell nothing. */
const BUDGET_SECONDS = Number(process.env['BUDGET'] ?? SELFTEST_PLAN.budgetSeconds);
const THREADS = process.env['THREADS'] ?? '1';
const CLI = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
/** Of one core, in steps that a scheduler cannot even out. */
const HALF_BUSY =
  'for (;;) { const end = performance.now() + 50; while (performance.now() < end); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50); }';
const TIMEOUT_MS = 20 * 60_000;
const SAME = 'same';
const SLOWER = 'slower-30';
const DETAIL_WIDTH = 90;

export async function selftests(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-selftests-'));
  console.log(
    `${RUNS} selftests of ${BUDGET_SECONDS} s, ${THREADS} thread; the second half beside a core that is half busy.\n`,
  );
  console.log(`run  neighbour  ${'the same engine twice'.padEnd(DETAIL_WIDTH)}  an injected 30%`);
  const results: { readonly busy: boolean; readonly result: SelftestResult }[] = [];
  try {
    for (let run = 0; run < RUNS; run += 1) {
      const busy = run >= RUNS / 2;
      const result = await runOne(join(folder, String(run)), busy);
      results.push({ busy, result });
      console.log(
        `${String(run + 1).padStart(3)}  ${(busy ? 'half a core' : 'none').padEnd(11)}${detailOf(result, SAME).padEnd(DETAIL_WIDTH)}  ${detailOf(result, SLOWER)}`,
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  for (const busy of [false, true])
    summarise(
      results.filter((entry) => entry.busy === busy).map(({ result }) => result),
      busy,
    );
}

async function runOne(folder: string, busy: boolean): Promise<SelftestResult> {
  const neighbour: ChildProcess | null = busy ? spawn(process.execPath, ['-e', HALF_BUSY], { stdio: 'ignore' }) : null;
  const args = [CLI, 'selftest', '--yes', '--budget', String(BUDGET_SECONDS), '--threads', THREADS, '--out', folder];
  try {
    // Exit code 5 is a result, too: a selftest that found something.
    await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS }).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 5)) throw error;
    });
    return JSON.parse(await readFile(join(folder, RESULT_FILE), 'utf8')) as SelftestResult;
  } finally {
    neighbour?.kill('SIGKILL');
  }
}

function itemOf({ items }: SelftestResult, id: string): { readonly outcome: string; readonly detail: string } {
  return items.find((item) => item.id === id) ?? { outcome: 'missing', detail: 'missing' };
}

function detailOf(result: SelftestResult, id: string): string {
  const { outcome, detail } = itemOf(result, id);
  return `${outcome}: ${detail}`.slice(0, DETAIL_WIDTH);
}

function summarise(results: readonly SelftestResult[], busy: boolean): void {
  const count = (id: string, outcome: string): number =>
    results.filter((result) => itemOf(result, id).outcome === outcome).length;
  const told = (id: string): string =>
    ['passed', 'undecided', 'failed'].map((outcome) => `${count(id, outcome)} ${outcome}`).join(', ');
  console.log(
    `\n${busy ? 'Beside half a busy core' : 'Without a neighbour'}: same engine twice ${told(SAME)}; injected 30% ${told(SLOWER)}.`,
  );
}
