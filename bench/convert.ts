/**
 * safetensors -> GGUF on a model of Llama-3.2-1B's shape (2.47 GB of bf16): runoff beside llama.cpp's converter and beside
 * `cp`, in one run, one after the other in turns. The vocabulary is left out on both sides.
 *
 * RUNOFF_LLAMA_CPP: llama.cpp's source folder (convert_hf_to_gguf.py); RUNOFF_PYTHON: a Python with its requirements, or with
 * a stand-in for torch on PYTHONPATH. Without them only runoff and `cp` are measured. RUNOFF_BENCH_RUNS: repetitions;
 * RUNOFF_BENCH_MEMORY: idle or touched (below); RUNOFF_BENCH_SHAPE: 1b, or 8b (Llama 3 8B, 16 GB); RUNOFF_BENCH_TYPES: some of
 * bf16 f16 q8_0 q4_k_m vocabulary. The last one is the memory of the command as users run it, with the proof of a tokenizer of
 * 128,256 tokens, and needs no large disk.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism, freemem, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { median } from 'simple-statistics';
import { findGgmlLibrary } from '../src/models/convert/run-with-ggml.ts';
import { cacheFolder, freeBytes } from '../src/platform/folders.ts';
import { vocabularyMemory } from './convert-vocabulary.ts';
import { LLAMA_1B, LLAMA_8B, writeLlamaFolder } from './llama-folder.ts';
import { touchMemory } from './touch-memory.ts';
import { peakUntilExit } from './tree-peak.ts';

const QUANTS = ['bf16', 'f16', 'q8_0', 'q4_k_m'] as const;
type Quant = (typeof QUANTS)[number];

const RUNS = Number(process.env['RUNOFF_BENCH_RUNS'] ?? 3);
/** Of 8B the memory is what is asked. */
const SHAPES = {
  '1b': { config: LLAMA_1B, weights: '1.24 billion', sourceBytes: 2.5e9 },
  '8b': { config: LLAMA_8B, weights: '8.03 billion', sourceBytes: 16.1e9 },
} as const;
const SHAPE = SHAPES[process.env['RUNOFF_BENCH_SHAPE'] === '8b' ? '8b' : '1b'];
/**
 * In which state everybody finds the free memory. A virtual machine gives idle memory back to its host within seconds, and
 * who writes next gets it back page by page, which takes longer than the work: idle is what a user's command finds after a
 * pause, for all alike; touched is what is left when the machine is none, or busy.
 */
const MEMORY = process.env['RUNOFF_BENCH_MEMORY'] === 'idle' ? 'idle' : 'touched';
const IDLE_MS = 10_000;
/** Of the source: itself, its copy, our output, and the reference's. */
const DISK_FACTOR = 4;
/** Reference seconds by ours, and `cp` seconds by ours. */
const BARS: Readonly<Record<Quant, { readonly reference: number; readonly copy: number | null }>> = {
  bf16: { reference: 2.5, copy: 0.8 },
  f16: { reference: 1.8, copy: null },
  q8_0: { reference: 1.8, copy: null },
  q4_k_m: { reference: 1, copy: null },
};
const PEAK_MB_MAX = 250;
const BUILT = join(import.meta.dirname, '..', 'dist');

interface Measurement {
  /** Until the process ended: what it wrote is then in the page cache. */
  readonly seconds: number;
  /** Until it was on the disk, too. */
  readonly onDiskSeconds: number;
  readonly peakBytes: number;
}

/** Prints the tables. */
export async function convert(): Promise<void> {
  if (!existsSync(BUILT)) return console.log('There is no dist: npm run build');
  const wanted = (process.env['RUNOFF_BENCH_TYPES'] ?? [...QUANTS, 'vocabulary'].join(' ')).split(' ');
  const quants = QUANTS.filter((name) => wanted.includes(name));
  if (quants.length > 0) await convertWeights(quants);
  if (wanted.includes('vocabulary')) await vocabularyMemory(PEAK_MB_MAX);
}

async function convertWeights(quants: readonly Quant[]): Promise<void> {
  const folder = await mkdtemp(join(process.env['RUNOFF_BENCH_FOLDER'] ?? tmpdir(), 'runoff-bench-'));
  try {
    const free = await freeBytes(folder);
    const needed = DISK_FACTOR * SHAPE.sourceBytes;
    if (free !== null && free < needed) return console.log(`${needed / 1e9} GB free space needed in ${folder}`);
    const source = join(folder, 'model.safetensors');
    await writeLlamaFolder(folder, SHAPE.config);
    const reference = await findReference();
    const library = await findGgmlLibrary(join(cacheFolder(), 'environments', 'node-llama-cpp')).catch(() => null);
    if (library !== null)
      libllamaName = (await readdir(dirname(library))).find((name) => /^libllama\.(?!common)/.test(name));
    console.log(
      `${SHAPE.weights} bf16 weights, ${availableParallelism()} processors, median of ${RUNS}, outputs written anew, page cache warm, free memory ${MEMORY}`,
    );
    if (reference === null) console.log('no reference: RUNOFF_LLAMA_CPP and RUNOFF_PYTHON are not set');
    console.log('"on disk": seconds until all of it is written there, too; before, it is in the page cache');
    console.log(
      'type     runoff s (range)     peak MB   reference s   peak MB   ratio   cp s   cp/runoff   on disk: runoff s   cp s   cp/runoff',
    );
    for (const quant of quants) {
      if (quant === 'q4_k_m' && library === null) console.log('q4_k_m: skipped, llama-cpp is not installed');
      else await measureQuant(quant, { folder, source, library, reference });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Setting {
  readonly folder: string;
  readonly source: string;
  readonly library: string | null;
  readonly reference: { readonly python: string; readonly source: string } | null;
}

async function measureQuant(quant: Quant, setting: Setting): Promise<void> {
  const { folder, source, library, reference } = setting;
  const runs = { ours: [] as Measurement[], reference: [] as Measurement[], copy: [] as Measurement[] };
  const turns = [
    async () =>
      runs.ours.push(await timed(process.execPath, ourArguments(quant, folder, library), join(folder, 'ours.gguf'))),
    async () => runs.copy.push(await timed('cp', [source, join(folder, 'copy')], join(folder, 'copy'))),
    ...(reference === null ? [] : [async () => runs.reference.push(await timedReference(quant, setting, reference))]),
  ];
  // Everybody comes first, second and last: memory that lay idle must come back from the host, and whoever is next pays for it.
  for (let i = 0; i < RUNS; i++)
    for (let place = 0; place < turns.length; place++) await turns[(i + place) % turns.length]?.();
  report(quant, runs);
}

function timedReference(
  quant: Quant,
  { folder, library }: Setting,
  { python, source }: NonNullable<Setting['reference']>,
): Promise<Measurement> {
  const script = join(import.meta.dirname, 'bare', 'convert-reference.py');
  const out = join(folder, 'reference.gguf');
  const args = [script, source, folder, quant, out, libllamaOf(library), String(availableParallelism())];
  return timed(python, args, out, library === null ? undefined : dirname(library));
}

function report(quant: Quant, runs: Readonly<Record<'ours' | 'reference' | 'copy', readonly Measurement[]>>): void {
  const seconds = (list: readonly Measurement[], of: 'seconds' | 'onDiskSeconds' = 'seconds'): number =>
    list.length === 0 ? Number.NaN : median(list.map((run) => run[of]));
  const peak = (list: readonly Measurement[]): number => Math.max(...list.map((run) => run.peakBytes)) / 1e6;
  const [ours, reference, copy] = [seconds(runs.ours), seconds(runs.reference), seconds(runs.copy)];
  const [oursOnDisk, copyOnDisk] = [seconds(runs.ours, 'onDiskSeconds'), seconds(runs.copy, 'onDiskSeconds')];
  const all = runs.ours.map((run) => run.seconds);
  const bars = BARS[quant];
  const verdicts = [
    peak(runs.ours) <= PEAK_MB_MAX ? '' : `peak over ${PEAK_MB_MAX} MB`,
    Number.isNaN(reference) || reference / ours >= bars.reference ? '' : `below ${bars.reference} of the reference`,
    bars.copy === null || copy / ours >= bars.copy ? '' : `below ${bars.copy} of cp`,
  ].filter((text) => text !== '');
  console.log(
    [
      quant.padEnd(8),
      `${ours.toFixed(1)} (${Math.min(...all).toFixed(1)}-${Math.max(...all).toFixed(1)})`.padEnd(20),
      peak(runs.ours).toFixed(0).padStart(7),
      figure(reference, 1).padStart(13),
      figure(peak(runs.reference), 0).padStart(9),
      figure(reference / ours, 2).padStart(7),
      copy.toFixed(1).padStart(6),
      (copy / ours).toFixed(2).padStart(11),
      oursOnDisk.toFixed(1).padStart(19),
      copyOnDisk.toFixed(1).padStart(6),
      (copyOnDisk / oursOnDisk).toFixed(2).padStart(11),
      verdicts.length === 0 ? '  holds' : `  DOES NOT HOLD: ${verdicts.join(', ')}`,
    ].join(' '),
  );
}

/** A dash where nobody was measured. */
function figure(value: number, decimals: number): string {
  return Number.isFinite(value) ? value.toFixed(decimals) : '-';
}

/** A fresh process each time: its peak is its own, and its code starts cold, as for a user, who has it compiled. */
function ourArguments(quant: Quant, folder: string, library: string | null): string[] {
  const url = (name: string): string => JSON.stringify(pathToFileURL(join(BUILT, 'models', 'convert', name)).href);
  const script = `
    import { planFromFolder } from ${url('plan.js')};
    import { writeConverted } from ${url('convert-to-gguf.js')};
    const [folder, quant, out, libraryPath] = process.argv.slice(1);
    const plan = await planFromFolder(folder, { quant, tokenizer: new Map(), importance: null });
    await writeConverted(plan, out, { libraryPath: libraryPath || null, importancePath: null, onProgress() {} });`;
  return [
    '--input-type=module',
    '--eval',
    script,
    folder,
    quant.toUpperCase(),
    join(folder, 'ours.gguf'),
    library ?? '',
  ];
}

async function timed(command: string, args: readonly string[], out: string, libraries?: string): Promise<Measurement> {
  await rm(out, { force: true });
  // Nobody waits for what the one before left to be written. Windows has no such program, and writes at once.
  spawnSync('sync');
  await settleMemory();
  const startedMs = performance.now();
  const passed = (): number => (performance.now() - startedMs) / 1000;
  const env = libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries };
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4_000)));
  const peakBytes = await peakUntilExit(child);
  if (child.exitCode !== 0) throw new Error(`${command} failed: ${words}`);
  const seconds = passed();
  spawnSync('sync');
  return { seconds, onDiskSeconds: passed(), peakBytes };
}

async function settleMemory(): Promise<void> {
  if (MEMORY === 'idle') return setTimeout(IDLE_MS);
  touchMemory(1.1 * Math.min(SHAPE.sourceBytes, freemem() / 2));
}

async function findReference(): Promise<Setting['reference']> {
  const source = process.env['RUNOFF_LLAMA_CPP'];
  const python = process.env['RUNOFF_PYTHON'];
  if (source === undefined || python === undefined || !existsSync(join(source, 'convert_hf_to_gguf.py'))) return null;
  return { source, python };
}

/** Beside ggml's base library. */
function libllamaOf(library: string | null): string {
  if (library === null) return '-';
  return join(dirname(library), libllamaName ?? 'libllama.so');
}
let libllamaName: string | undefined;
