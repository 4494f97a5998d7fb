/**
 * `runoff models inspect` on a llamafile of 5 GB with a vocabulary as large as Llama 3's: bar 1 s and 100 MB.
 * Peer: an empty node program, the floor that nothing can beat.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from 'simple-statistics';
import { model, text, writeFakeLlamafile } from '../test/models/llamafile/fake-llamafile.ts';
import { largeGgufHeader } from '../test/models/llamafile/large-gguf.ts';

const RUNS = 9;
const BAR_MS = 1_000;
const BAR_MB = 100;
/** As large as the program of a release, with its version at the far end. */
const PROGRAM_BYTES = 50 << 20;
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

interface Measurement {
  readonly ms: number;
  readonly peakBytes: number;
}

/** Prints the table. Measures what `npm run build` made: a user has no TypeScript to strip. */
export async function inspect(): Promise<void> {
  if (!existsSync(main)) return console.log('There is no dist: npm run build');
  const folder = await mkdtemp(join(tmpdir(), 'runoff-bench-'));
  try {
    const path = join(folder, 'large.llamafile');
    const { bytes, byteLength } = largeGgufHeader();
    await writeFakeLlamafile(path, {
      programBytes: PROGRAM_BYTES,
      versionAt: PROGRAM_BYTES - 100,
      zip64: true,
      entries: [model('large.gguf', bytes, byteLength), text('.args', '-m large.gguf ...')],
    });
    const { size, blocks } = await stat(path);
    console.log(
      `a llamafile of ${(size / 1e9).toFixed(2)} GB (${((blocks * 512) / 1e6).toFixed(0)} MB on disk, the rest is a hole), page cache warm`,
    );
    const inspectOnce = (): Measurement => measure([main, 'models', 'inspect', path]);
    inspectOnce();
    const ours: Measurement[] = [];
    const empty: Measurement[] = [];
    for (let i = 0; i < RUNS; i++) {
      ours.push(inspectOnce());
      empty.push(measure(['--eval', '0']));
    }
    report(ours, empty);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function report(ours: readonly Measurement[], empty: readonly Measurement[]): void {
  const ms = median(ours.map((run) => run.ms));
  const megabytes = Math.max(...ours.map((run) => run.peakBytes)) / 1e6;
  const floorMs = median(empty.map((run) => run.ms));
  const floorMegabytes = Math.max(...empty.map((run) => run.peakBytes)) / 1e6;
  const state = (met: boolean): string => (met ? 'met' : 'MISSED');
  console.log(`models inspect  ${ms.toFixed(0)} ms (median of ${RUNS}; bar ${BAR_MS} ms: ${state(ms < BAR_MS)})`);
  console.log(
    `  peak RSS      ${megabytes.toFixed(0)} MB (highest of ${RUNS}; bar ${BAR_MB} MB: ${state(megabytes < BAR_MB)})`,
  );
  console.log(`empty node      ${floorMs.toFixed(0)} ms, ${floorMegabytes.toFixed(0)} MB`);
}

/**
 * Runs in the measured process, before its program. Linux counts what the parent had at the fork in maxRSS; VmHWM is of
 * the program alone.
 */
const TELL_PEAK = `
import { readFileSync } from 'node:fs';
process.on('exit', () => {
  let peak = process.resourceUsage().maxRSS;
  try { peak = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]); } catch {}
  process.stderr.write('PEAK ' + peak * 1024);
});`;

/** Whole processes, as a user waits for them; the peak is the process's own. */
function measure(args: readonly string[]): Measurement {
  const startedMs = performance.now();
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(TELL_PEAK)}`, ...args],
    {
      encoding: 'utf8',
    },
  );
  const ms = performance.now() - startedMs;
  const peak = /PEAK (\d+)/.exec(stderr)?.[1];
  if (status !== 0 || peak === undefined) throw new Error(`the command failed: ${stderr}`);
  return { ms, peakBytes: Number(peak) };
}
