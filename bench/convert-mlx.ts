/**
 * safetensors -> MLX, 4 bits in groups of 64, on a model of Llama-3.2-1B's shape (2.47 GB of bf16): runoff beside
 * mlx_lm.convert and beside `cp` of the source, in turns, in one run. Needs the environment mlx-lm (runoff engines install
 * mlx-lm); without it only runoff and `cp` are measured. RUNOFF_BENCH_RUNS: repetitions.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from 'simple-statistics';
import { writeFully } from '../src/models/file-io.ts';
import { layoutSafetensors, planBytes, type TensorPlan } from '../src/models/safetensors/format.ts';
import { cacheFolder, freeBytes } from '../src/platform/folders.ts';
import { readTreeMemory } from '../src/platform/memory/tree-memory.ts';

const RUNS = Number(process.env['RUNOFF_BENCH_RUNS'] ?? 3);
/** Source, its copy and two results. */
const DISK_BYTES_NEEDED = 8e9;
const POLL_MS = 150;
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
  let peakBytes = 0;
  const poll = setInterval(() => {
    void readTreeMemory(child.pid ?? 0).then((memory) => (peakBytes = Math.max(peakBytes, memory.peakBytes ?? 0)));
  }, POLL_MS);
  await new Promise((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  clearInterval(poll);
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

const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  torch_dtype: 'bfloat16',
  vocab_size: 128_256,
  hidden_size: 2_048,
  intermediate_size: 8_192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: true,
};

/** Llama-3.2-1B's tensors with one megabyte of random weights, repeated: the values do not change the speed. */
async function writeModel(folder: string): Promise<void> {
  await mkdir(folder);
  await writeFile(join(folder, 'config.json'), JSON.stringify(CONFIG));
  await copyTokenizer(folder);
  const { hidden_size: hidden, intermediate_size: feed, num_hidden_layers: layers, vocab_size: words } = CONFIG;
  const plan = (name: string, ...shape: number[]): TensorPlan => ({ name, dtype: 'BF16', shape });
  const plans = [plan('model.embed_tokens.weight', words, hidden), plan('model.norm.weight', hidden)];
  for (let layer = 0; layer < layers; layer++) {
    const shapes: [string, ...number[]][] = [
      ['input_layernorm', hidden],
      ['post_attention_layernorm', hidden],
      ['self_attn.q_proj', hidden, hidden],
      ['self_attn.k_proj', 512, hidden],
      ['self_attn.v_proj', 512, hidden],
      ['self_attn.o_proj', hidden, hidden],
      ['mlp.gate_proj', feed, hidden],
      ['mlp.up_proj', feed, hidden],
      ['mlp.down_proj', hidden, feed],
    ];
    plans.push(...shapes.map(([name, ...shape]) => plan(`model.layers.${layer}.${name}.weight`, ...shape)));
  }
  await writeTensors(join(folder, 'model.safetensors'), plans);
}

async function writeTensors(path: string, plans: readonly TensorPlan[]): Promise<void> {
  const layout = layoutSafetensors(plans, { format: 'pt' });
  const handle = await open(path, 'wx');
  try {
    writeFully(handle, layout.header, 0);
    const pattern = randomWeights(1 << 20);
    for (const [i, tensor] of plans.entries()) {
      const total = planBytes(tensor);
      for (let done = 0; done < total; done += pattern.length) {
        const part = pattern.subarray(0, Math.min(pattern.length, total - done));
        writeFully(handle, part, (layout.offsets[i] as number) + done);
      }
    }
  } finally {
    await handle.close();
  }
}

/** mlx_lm.convert loads one; any will do. */
async function copyTokenizer(folder: string): Promise<void> {
  const converted = join(cacheFolder(), 'models', 'mlx');
  const names = existsSync(converted) ? await readdir(converted) : [];
  const from = names.map((name) => join(converted, name)).find((path) => existsSync(join(path, 'tokenizer.json')));
  if (from === undefined) return;
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) await copyFile(join(from, name), join(folder, name));
}

/** bfloat16 of about 0.02: real weights have all kinds of fractions and few exponents. */
function randomWeights(bytes: number): Uint8Array {
  const halves = new Uint16Array(bytes / 2);
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  for (let i = 0; i < halves.length; i++) {
    value[0] = (Math.random() + Math.random() + Math.random() + Math.random() - 2) * 0.035;
    halves[i] = (word[0] as number) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}
