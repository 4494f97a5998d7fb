/**
 * safetensors -> MLX, 4 bits in groups of 64, on a model of Llama-3.2-1B's shape (2.47 GB of bf16): runoff beside
 * mlx_lm.convert and beside `cp` of the source, in turns, in one run. Needs the environment mlx-lm (runoff engines install
 * mlx-lm); without it only runoff and `cp` are measured. RUNOFF_BENCH_RUNS: repetitions.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from 'simple-statistics';
import { cacheFolder, freeBytes } from '../src/platform/folders.ts';
import { LLAMA_1B, writeLlamaFolder } from './llama-folder.ts';
import { peakUntilExit } from './tree-peak.ts';

const RUNS = Number(process.env['RUNOFF_BENCH_RUNS'] ?? 3);
/** Source, its copy and two results. */
const DISK_BYTES_NEEDED = 8e9;
const RATIO_MIN = 1.5;
const PEAK_MB_MAX = 400;
const MAIN = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts');

interface Measurement {
  readonly seconds: number;
  readonly peakBytes: number;
}

interface Contender {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly out: string;
}

/** Prints the table. */
export async function convertMlx(): Promise<void> {
  const folder = await mkdtemp(join(process.env['RUNOFF_BENCH_FOLDER'] ?? tmpdir(), 'runoff-bench-'));
  try {
    const free = await freeBytes(folder);
    if (free !== null && free < DISK_BYTES_NEEDED)
      return console.log(`${DISK_BYTES_NEEDED / 1e9} GB free space needed in ${folder}`);
    const source = join(folder, 'source');
    await writeModel(source);
    const contenders = contendersFor(source, folder);
    const runs = contenders.map((): Measurement[] => []);
    for (let i = 0; i < RUNS; i++)
      for (const [n, contender] of contenders.entries()) runs[n]?.push(await measure(contender));
    report(contenders, runs);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function contendersFor(source: string, folder: string): Contender[] {
  const outs = { runoff: join(folder, 'runoff'), reference: join(folder, 'mlx-lm'), copy: join(folder, 'copy') };
  const python = join(cacheFolder(), 'environments', 'mlx-lm', 'bin', 'python');
  const ours = [MAIN, 'models', 'convert', source, '--to', 'mlx', '--bits', '4', '--out', outs.runoff];
  const theirs = ['-m', 'mlx_lm', 'convert', '--hf-path', source, '--mlx-path', outs.reference, '-q'];
  const list: Contender[] = [{ name: 'runoff', command: process.execPath, args: ours, out: outs.runoff }];
  if (existsSync(python)) list.push({ name: 'mlx_lm.convert', command: python, args: theirs, out: outs.reference });
  else console.log('mlx_lm.convert: skipped, the environment mlx-lm is not installed');
  return [...list, { name: 'cp', command: 'cp', args: ['-r', source, outs.copy], out: outs.copy }];
}

async function measure({ command, args, out }: Contender): Promise<Measurement> {
  await rm(out, { recursive: true, force: true });
  const startedMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4_000)));
  const peakBytes = await peakUntilExit(child);
  const seconds = (performance.now() - startedMs) / 1_000;
  if (child.exitCode !== 0) throw new Error(`${command} failed: ${words}`);
  await rm(out, { recursive: true, force: true });
  return { seconds, peakBytes };
}

function report(contenders: readonly Contender[], runs: readonly (readonly Measurement[])[]): void {
  console.log(`1.24 billion bf16 weights -> 4 bits, ${availableParallelism()} processors, median of ${RUNS}`);
  console.log('                  seconds (range)     peak MB   by runoff');
  const secondsOf = (list: readonly Measurement[]): number => median(list.map((run) => run.seconds));
  const ours = secondsOf(runs[0] ?? []);
  const peakOf = (list: readonly Measurement[]): number => Math.max(...list.map((run) => run.peakBytes)) / 1e6;
  for (const [i, { name }] of contenders.entries()) {
    const list = runs[i] ?? [];
    const all = list.map((run) => run.seconds);
    const range = `${secondsOf(list).toFixed(1)} (${Math.min(...all).toFixed(1)}-${Math.max(...all).toFixed(1)})`;
    const columns = [name.padEnd(16), range.padEnd(20), peakOf(list).toFixed(0).padStart(6)];
    console.log([...columns, (secondsOf(list) / ours).toFixed(2).padStart(11)].join(' '));
  }
  const reference = runs[contenders.findIndex(({ name }) => name === 'mlx_lm.convert')];
  const isFast = reference === undefined || secondsOf(reference) / ours >= RATIO_MIN;
  const isLean = peakOf(runs[0] ?? []) <= PEAK_MB_MAX;
  console.log(
    `>= ${RATIO_MIN} times mlx_lm.convert: ${isFast ? 'holds' : 'DOES NOT HOLD'}; peak <= ${PEAK_MB_MAX} MB: ${isLean ? 'holds' : 'DOES NOT HOLD'}`,
  );
}

async function writeModel(folder: string): Promise<void> {
  await mkdir(folder);
  await writeLlamaFolder(folder, LLAMA_1B);
  await copyTokenizer(folder);
}

/** mlx_lm.convert loads one; any will do. */
async function copyTokenizer(folder: string): Promise<void> {
  const converted = join(cacheFolder(), 'models', 'mlx');
  const names = existsSync(converted) ? await readdir(converted) : [];
  const from = names.map((name) => join(converted, name)).find((path) => existsSync(join(path, 'tokenizer.json')));
  if (from === undefined) return;
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) await copyFile(join(from, name), join(folder, name));
}
