import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { writeTinyModel } from '../models/convert/tiny-models.ts';
import { llamaShapes } from '../models/llama-shapes.ts';
import { useWorkspace, type Finished, type Workspace } from './cli.ts';

const workspace = useWorkspace();
const LAYERS = 6;
/** Longer than any command starts on a busy machine. */
const WAIT_MS_MAX = 60_000;

/** 19 million weights: a conversion that is still at work when the first tensors are written. */
async function writeModel(folder: string): Promise<void> {
  const [hidden, feed] = [256, 4096];
  const shapes = llamaShapes({ vocabulary: 320, hidden, feed, layers: LAYERS });
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: 320,
    hidden_size: hidden,
    intermediate_size: feed,
    num_hidden_layers: LAYERS,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    tie_word_embeddings: true,
    torch_dtype: 'float16',
  };
  const vocab = Object.fromEntries(
    Array.from({ length: 320 }, (_, i) => [i < 94 ? String.fromCharCode(33 + i) : `w${i}`, i]),
  );
  const files = {
    'tokenizer.json': {
      version: '1.0',
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', vocab, merges: [] },
    },
    'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast' },
  };
  await writeTinyModel(folder, { config, dtype: 'F16', shards: 1, shapes, files });
}

function doneIn(journal: string): number {
  return existsSync(journal) ? readFileSync(journal, 'utf8').split('\n{"tensor"').length - 1 : 0;
}

async function hashes(path: string): Promise<Record<string, string>> {
  const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
  if (path.endsWith('.gguf')) return { file: hash(path) };
  const names = (await readdir(path)).toSorted();
  return Object.fromEntries(names.map((name) => [name, hash(join(path, name))]));
}

const TO = {
  gguf: ['--to', 'gguf', '--quant', 'q8_0', '--pre-tokenizer', 'gpt-2'],
  mlx: ['--to', 'mlx', '--bits', '4', '--threads', '1'],
} as const;

const args = (to: keyof typeof TO, out: string, ...more: readonly string[]): string[] => [
  'models',
  'convert',
  'model',
  ...TO[to],
  '--out',
  out,
  ...more,
];

/** Starts a conversion and signals it when some tensors are written and others are not. */
async function stopped(
  w: Workspace,
  { to, out, signal }: { to: keyof typeof TO; out: string; signal: 'SIGKILL' | 'SIGINT' },
): Promise<Finished & { done: number }> {
  const journal = join(w.folder, `${out}.partial.journal`);
  const running = w.start(args(to, out));
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  while (doneIn(journal) < 8 && performance.now() < deadlineMs) await sleep(1);
  running.process.kill(signal);
  return { ...(await running.finished), done: doneIn(journal) };
}

describe.each(['gguf', 'mlx'] as const)('models convert --to %s', (to) => {
  const name = to === 'gguf' ? 'out.gguf' : 'out';
  const whole = to === 'gguf' ? 'whole.gguf' : 'whole';
  const outputs = async (w: Workspace): Promise<string[]> =>
    (await readdir(w.folder)).filter((entry) => entry.startsWith('out')).toSorted();

  test('killed in the middle it leaves nothing that looks finished, and --resume ends with the same bytes', async () => {
    const w = workspace();
    await writeModel(join(w.folder, 'model'));
    expect(await w.runoff(args(to, whole))).toMatchObject({ code: 0 });
    const { done } = await stopped(w, { to, out: name, signal: 'SIGKILL' });
    expect(done).toBeGreaterThanOrEqual(8);
    expect(done).toBeLessThan(2 + 9 * LAYERS);
    expect(await outputs(w)).toEqual([`${name}.partial`, `${name}.partial.journal`]);
    expect((await w.runoff(['models', 'inspect', `${name}.partial`])).code).not.toBe(0);
    expect(await w.orphans()).toEqual([]);

    const other = to === 'gguf' ? ['--quant', 'f16'] : ['--bits', '8'];
    const refused = await w.runoff([...args(to, name, '--resume'), ...other]);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(
      to === 'gguf'
        ? `out.gguf.partial cannot be resumed: --quant was Q8_0 and is F16 now.`
        : `out.partial cannot be resumed: --bits was 4 and is 8 now.`,
    );

    const resumed = await w.runoff(args(to, name, '--resume'));
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).toContain(`${name}.partial: ${done} of ${2 + 9 * LAYERS} tensors are there.`);
    expect(await hashes(join(w.folder, name))).toEqual(await hashes(join(w.folder, whole)));
    expect(await outputs(w)).toEqual([name]);
  });

  test.skipIf(process.platform === 'win32')('Ctrl-C keeps what is done and says how to go on', async () => {
    const w = workspace();
    await writeModel(join(w.folder, 'model'));
    const { code, stderr, done } = await stopped(w, { to, out: name, signal: 'SIGINT' });
    expect(code).toBe(130);
    expect(stderr).toContain('Stopping: tensors that are complete are kept for --resume.');
    expect(stderr).toContain(`runoff: stopped; ${done} of 56 tensors are kept in ${join(w.folder, name)}.partial.`);
    expect(stderr).toContain('Add --resume to the same command to go on, or delete it.');
    expect(await outputs(w)).toEqual([`${name}.partial`, `${name}.partial.journal`]);
    expect(await w.runoff(args(to, name, '--resume'))).toMatchObject({ code: 0 });
    expect(await outputs(w)).toEqual([name]);
  });
});
