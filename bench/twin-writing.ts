/**
 * How fast twins are written: the command that a user types, from the start of its process to the end, against `cp` of the
 * file it wrote. Bar: half of `cp`'s speed, in 250 MB.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, open, rm, stat, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from 'simple-statistics';
import { peakUntilExit } from './tree-peak.ts';

const MODEL = 'llama-3.2-1b';
const QUANTS = ['Q4_0', 'Q4_K_M', 'Q8_0', 'F16'] as const;
const RATIO_MIN = 0.5;
const PEAK_MB_MAX = 250;
const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
/** The largest twin, its copy, and room to spare. */
const DISK_BYTES_NEEDED = 6e9;
/** The command takes half a second. */
const POLL_MS = 20;
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

/** Prints the table. */
export async function writing(): Promise<void> {
  if (!existsSync(main)) return console.log('There is no dist: npm run build');
  const folder = await mkdtemp(join(process.env['RUNOFF_BENCH_FOLDER'] ?? tmpdir(), 'runoff-bench-'));
  try {
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < DISK_BYTES_NEEDED)
      return console.log(`writing: skipped, ${DISK_BYTES_NEEDED / 1e9} GB free space needed in ${folder}`);
    console.log(
      `runoff models twin ${MODEL} --quant TYPE, whole process, against cp of the file; medians of ${ROUNDS} (range)`,
    );
    console.log('type       MB   twin s                cp s                  cp/twin              peak MB   bar');
    for (const quant of process.env['QUANTS']?.split(',') ?? QUANTS) await writeOne(folder, quant);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Round {
  readonly twin: number;
  readonly cp: number;
}

/**
 * Both write one file beside the same finished one, and each file is removed at once: neither meets what the other left for
 * the disk to do. Who starts alternates.
 */
async function writeOne(folder: string, quant: string): Promise<void> {
  const [source, target] = [join(folder, 'source.gguf'), join(folder, 'target.gguf')];
  const peakBytes = await peakOf(twinArguments(quant, source));
  await onDisk(source);
  const twin = (): Promise<number> =>
    seconds(target, async () => execute(process.execPath, twinArguments(quant, target)));
  const cp = (): Promise<number> => seconds(target, () => copy(source, target));
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const early = round % 2 === 0 ? null : await cp();
    const own = await twin();
    rounds.push({ twin: own, cp: early ?? (await cp()) });
  }
  const share = median(rounds.map((round) => round.cp / round.twin));
  const faults = [
    ...(share >= RATIO_MIN ? [] : [`under ${RATIO_MIN}`]),
    ...(peakBytes / 1e6 <= PEAK_MB_MAX ? [] : [`over ${PEAK_MB_MAX} MB`]),
  ];
  const cells = [rounds.map((round) => round.twin), rounds.map((round) => round.cp), rounds.map((r) => r.cp / r.twin)];
  console.log(
    [
      quant.padEnd(7),
      ((await stat(source)).size / 1e6).toFixed(0).padStart(5),
      ...cells.map((values) => ` ${range(values).padEnd(20)}`),
      (peakBytes / 1e6).toFixed(0).padStart(7),
      faults.length === 0 ? '  holds' : `  DOES NOT HOLD: ${faults.join(', ')}`,
    ].join(' '),
  );
  await rm(source);
}

function twinArguments(quant: string, out: string): string[] {
  return [main, 'models', 'twin', MODEL, '--quant', quant, '--out', out];
}

/**
 * The second of two in a row, each removed at once: the first leaves its memory to the second. Memory that nobody has used for
 * some seconds is the host's on a virtual machine, and to get it back took five times as long as the copy, by chance of
 * one or the other.
 */
async function seconds(target: string, write: () => Promise<void>): Promise<number> {
  await write();
  await rm(target);
  const startedMs = performance.now();
  await write();
  const endedMs = performance.now();
  await rm(target);
  return (endedMs - startedMs) / 1e3;
}

async function copy(source: string, target: string): Promise<void> {
  if (process.platform === 'win32') await copyFile(source, target);
  else execute('cp', [source, target]);
}

function execute(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (status !== 0) throw new Error(`${command} failed: ${stderr}`);
}

async function onDisk(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  await handle.sync();
  await handle.close();
}

/** Of a run that nobody times. */
async function peakOf(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  const peakBytes = await peakUntilExit(child, POLL_MS);
  if (child.exitCode !== 0) throw new Error('the twin failed');
  return peakBytes;
}

function range(values: readonly number[]): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${median([...values]).toFixed(2)} (${low.toFixed(2)}-${high.toFixed(2)})`;
}
