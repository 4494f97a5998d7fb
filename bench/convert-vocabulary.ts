/**
 * The memory of `runoff models convert` as users run it, the proof of a 128k vocabulary included: the built program on a
 * model of few weights with a tokenizer of Llama 3's shape. All processes of the command together, phase by phase; what
 * runs beside runoff names the phase.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { readTreeMemory } from '../src/platform/memory/tree-memory.ts';
import { readTree } from '../src/platform/process-table/process-table.ts';
import { largeTokenizerJson, MERGE_COUNT, TOKEN_COUNT, TOKENIZER_CONFIG } from './large-tokenizer.ts';
import { LLAMA_1B, writeLlamaFolder } from './llama-folder.ts';

const MAIN = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js');
/** Processes keep their own peaks: a poll only must see each of them shortly before its end. */
const POLL_MS = 20;
/** Embeddings and one layer, 16 MB. */
const SMALL = {
  ...LLAMA_1B,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 32,
};

interface Phase {
  samples: number;
  /** Of runoff and of what runs beside it, each at its own worst so far: an upper bound. */
  peakBytes: number;
}

/** Prints the table. */
export async function vocabularyMemory(peakMbMax: number): Promise<void> {
  if (!existsSync(MAIN)) return console.log('vocabulary: skipped, the program is not built (npm run build)');
  const folder = await mkdtemp(join(tmpdir(), 'runoff-bench-'));
  try {
    await writeLlamaFolder(folder, SMALL);
    await writeFile(join(folder, 'tokenizer.json'), largeTokenizerJson());
    await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(TOKENIZER_CONFIG));
    console.log(
      `runoff models convert --to gguf --quant Q8_0, ${TOKEN_COUNT} tokens, ${MERGE_COUNT} merges, all processes together`,
    );
    const { seconds, phases } = await run([
      'models',
      'convert',
      folder,
      '--to',
      'gguf',
      '--quant',
      'Q8_0',
      '--strict',
      '--out',
      join(folder, 'made.gguf'),
    ]);
    const samplesTotal = [...phases.values()].reduce((sum, { samples }) => sum + samples, 0);
    console.log('beside runoff        seconds   peak MB');
    for (const [name, { samples, peakBytes }] of phases) {
      const share = ((samples / samplesTotal) * seconds).toFixed(1);
      console.log(`${name.padEnd(20)} ${share.padStart(7)} ${(peakBytes / 1e6).toFixed(0).padStart(9)}`);
    }
    const worst = Math.max(...[...phases.values()].map(({ peakBytes }) => peakBytes)) / 1e6;
    const verdict = worst <= peakMbMax ? 'holds' : `DOES NOT HOLD: peak over ${peakMbMax} MB`;
    console.log(`${seconds.toFixed(1)} s, peak ${worst.toFixed(0)} MB  ${verdict}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(args: readonly string[]): Promise<{ seconds: number; phases: ReadonlyMap<string, Phase> }> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4_000)));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  const phases = new Map<string, Phase>();
  let isOver = false;
  const polls = (async () => {
    while (!isOver) {
      await look(child.pid ?? 0, phases);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  })();
  const code = await ended;
  isOver = true;
  await polls;
  if (code !== 0) throw new Error(`runoff failed: ${words}`);
  return { seconds: (performance.now() - startedMs) / 1000, phases };
}

async function look(pid: number, phases: Map<string, Phase>): Promise<void> {
  const [tree, { peakBytes }] = await Promise.all([readTree(pid), readTreeMemory(pid)]);
  if (peakBytes === null || tree.length === 0) return;
  const names = await Promise.all(tree.filter((row) => row.pid !== pid).map((row) => nameOf(row.pid)));
  const name = names.join(' + ') || 'nothing';
  const known = phases.get(name) ?? { samples: 0, peakBytes: 0 };
  phases.set(name, { samples: known.samples + 1, peakBytes: Math.max(known.peakBytes, peakBytes) });
}

/** The script that a process runs; where the system does not tell, it is a child. */
async function nameOf(pid: number): Promise<string> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  const script = words.find((word) => /\.(?:js|ts)$/.test(word));
  return script === undefined ? 'a child' : basename(script).replace(/\.\w+$/, '');
}
