/**
 * Architectures that runoff does not convert, through the reference converters. Skipped with the reason where their
 * environments are not installed: mlx-lm comes with `runoff setup`, llama.cpp's converter with
 * `runoff models convert --with-reference`.
 */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { convertToGguf } from '../../src/app/convert/to-gguf.ts';
import { convertToMlx } from '../../src/app/convert/to-mlx.ts';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { fixturePath } from '../models/fixture.ts';
import { writeTinyModel } from '../models/convert/tiny-models.ts';
import { llamaShapes } from '../models/llama-shapes.ts';

const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} });
const hasMlx = (await environments.inspect('mlx-lm')).state === 'ready';
const hasLlamaCpp = (await environments.inspect('llama-cpp-converter')).state === 'ready';
if (!hasMlx) console.warn('skipped: the environment mlx-lm is not installed; runoff setup installs it');
if (!hasLlamaCpp)
  console.warn(
    'skipped: the environment llama-cpp-converter is not installed; runoff models convert --with-reference does',
  );

const TIMEOUT_MS = 600_000;
const NEVER = async (): Promise<boolean> => false;
const common = {
  overwrite: false,
  resume: false,
  reference: { mayInstall: NEVER, mayRunCode: NEVER },
  threads: null,
  signal: new AbortController().signal,
  ui: { line() {}, status() {}, done() {} },
};

let folder = '';
let source = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-real-reference-'));
  source = join(folder, 'internlm3');
  await writeInternLm(source);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** InternLM 3: computes as Llama does, under another name. */
async function writeInternLm(path: string): Promise<void> {
  const [hidden, feed, vocabulary] = [64, 128, 524];
  const shapes = {
    ...llamaShapes({ vocabulary, hidden, feed, layers: 2 }),
    'lm_head.weight': [vocabulary, hidden],
  };
  const config = {
    architectures: ['InternLM3ForCausalLM'],
    model_type: 'internlm3',
    vocab_size: vocabulary,
    hidden_size: hidden,
    intermediate_size: feed,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    head_dim: 16,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    max_position_embeddings: 128,
    tie_word_embeddings: false,
    bias: false,
    qkv_bias: false,
    torch_dtype: 'bfloat16',
    bos_token_id: 1,
    eos_token_id: 2,
  };
  // Both spellings of one tokenizer; their configurations are of other models.
  for (const name of ['sentencepiece', 'sentencepiece-json'])
    await cp(fixturePath(`tokenizers/${name}`), path, {
      recursive: true,
      filter: (from) =>
        !from.endsWith('reference.gguf') && !from.endsWith('ids.json') && !from.endsWith('added_tokens.json'),
    });
  await writeTinyModel(path, { config, dtype: 'BF16', shards: 1, shapes });
}

const SAME = "Every weight is the same number as in the source's; that was checked.";

test.skipIf(!hasLlamaCpp)(
  "llama.cpp's converter makes a GGUF of the same weights",
  async () => {
    const out = join(folder, 'out.gguf');
    const ask = { ...common, imatrix: null, preTokenizer: null, strict: false, splitBytesMax: null };
    const { notes, bitsPerWeight } = await convertToGguf({ ...ask, source, quant: 'bf16', out });
    expect(notes[0]).toBe("Made by llama.cpp's converter (llama.cpp b11434, torch 2.11.0), not by runoff.");
    expect(notes[1]).toBe(SAME);
    expect(bitsPerWeight).toBeCloseTo(16, 0);
    expect((await readGgufHeader(out)).metadata.get('general.architecture')).toEqual({
      type: 'string',
      value: 'llama',
    });
  },
  TIMEOUT_MS,
);

test.skipIf(!hasMlx)(
  'mlx_lm.convert makes a folder of the same weights, and one of 4 bits that is near',
  async () => {
    const nothing = { bits: null, groupSize: null, recipe: null, dtype: null, rounding: 'cpu' } as const;
    const dense = await convertToMlx({ ...common, ...nothing, source, out: join(folder, 'dense') });
    expect(dense.notes).toEqual([expect.stringMatching(/^Made by mlx_lm\.convert \(mlx-lm 0\.32\.2, /), SAME]);
    const packed = await convertToMlx({
      ...common,
      ...nothing,
      bits: 4,
      groupSize: 32,
      source,
      out: join(folder, 'packed'),
    });
    const worst = Number(/relative RMSE of ([\d.]+)\.$/.exec(packed.notes[1] ?? '')?.[1]);
    // 4 bits cost 0.05 to 0.1.
    expect(worst).toBeGreaterThan(0.04);
    expect(worst).toBeLessThan(0.11);
  },
  TIMEOUT_MS,
);
