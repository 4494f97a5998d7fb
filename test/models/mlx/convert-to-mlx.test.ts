import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convertToMlx, type ConvertToMlxAsk } from '../../../src/app/convert/to-mlx.ts';
import { narrowInPlace } from '../../../src/models/mlx/quantize-kernel.ts';
import { readSafetensorsHeader } from '../../../src/models/safetensors/read-header.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { failure, fixturePath, floatsFromBase64, temporaryFolder, writeModel } from '../fixture.ts';
import { writeFolder, type FolderTensor } from '../model-folder.ts';
import { mlxAsk } from './mlx-ask.ts';

/** Recorded from mx.quantize (fixtures/record_mlx_quantize.py): one row of 256 values. */
const recorded = JSON.parse(readFileSync(new URL('../fixtures/mlx-quantize.json', import.meta.url), 'utf8')) as {
  readonly inputs: Readonly<Record<string, string>>;
  readonly hashes: Readonly<Record<string, string>>;
};

const CONFIG = {
  model_type: 'qwen2',
  _name_or_path: 'x',
  torch_dtype: 'bfloat16',
  num_hidden_layers: 8,
  tie_word_embeddings: true,
  eos_token_id: 1,
};

describe('convertToMlx', async () => {
  const folder = await temporaryFolder();
  const input = floatsFromBase64(recorded.inputs['normal']!);
  const row = (name: string, rows = 1): FolderTensor => {
    const one = narrowInPlace(floatsFromBase64(recorded.inputs['normal']!), 'BF16');
    return { name, dtype: 'BF16', shape: [rows, 256], bytes: Buffer.concat(Array.from({ length: rows }, () => one)) };
  };
  const zeros = (name: string, shape: number[]): FolderTensor => ({
    name,
    dtype: 'BF16',
    shape,
    bytes: new Uint8Array(2 * shape.reduce((a, b) => a * b, 1)),
  });

  async function source(): Promise<string> {
    const path = join(folder, 'source');
    await writeFolder(
      path,
      {
        'model-00001-of-00002.safetensors': [
          row('model.embed_tokens.weight', 3),
          zeros('model.norm.weight', [256]),
          row('lm_head.weight'),
        ],
        'model-00002-of-00002.safetensors': [
          ...Array.from({ length: 8 }, (_, i) => row(`model.layers.${i}.mlp.down_proj.weight`)),
          row('model.layers.0.self_attn.q_proj.weight'),
          zeros('model.layers.0.self_attn.o_proj.weight', [2, 48]),
          zeros('model.layers.0.self_attn.q_proj.bias', [64]),
        ],
      },
      CONFIG,
    );
    await writeFile(join(path, 'tokenizer.json'), '{"model":{}}');
    await writeFile(join(path, 'modeling_custom.py'), 'boom()');
    await writeFile(join(path, 'generation_config.json'), '{"eos_token_id":[1,2]}');
    return path;
  }

  const config = async (out: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;

  async function tensorHash(out: string, module: string): Promise<string> {
    const file = join(out, 'model.safetensors');
    const bytes = await readFile(file);
    const tensors = new Map((await readSafetensorsHeader(file)).map((tensor) => [tensor.name, tensor]));
    const hash = createHash('sha256');
    for (const part of ['weight', 'scales', 'biases']) {
      const { offset, byteLength } = tensors.get(`${module}.${part}`)!;
      hash.update(bytes.subarray(offset, offset + byteLength));
    }
    return hash.digest('hex').slice(0, 16);
  }

  it('writes what mx.quantize gives, from shards to one file, with the layout of mlx_lm.convert', async () => {
    const out = join(folder, 'four');
    const { bitsPerWeight, notes } = await convertToMlx(
      mlxAsk(await source(), out, { bits: 4, groupSize: 32, threads: 2 }),
    );
    expect(await tensorHash(out, 'model.layers.3.mlp.down_proj')).toBe(recorded.hashes['normal BF16 4 32']);
    expect(readdirSync(out).toSorted()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'model.safetensors.index.json',
      'tokenizer.json',
    ]);
    const quantization = { group_size: 32, bits: 4, mode: 'affine' };
    expect(await config(out)).toEqual({
      eos_token_id: [1, 2],
      model_type: 'qwen2',
      num_hidden_layers: 8,
      quantization,
      quantization_config: quantization,
      tie_word_embeddings: true,
      torch_dtype: 'bfloat16',
    });
    const names = (await readSafetensorsHeader(join(out, 'model.safetensors'))).map(({ name }) => name);
    // A row of 48 values is no whole number of groups; the tied output matrix is not stored.
    expect(names).toContain('model.layers.0.self_attn.o_proj.weight');
    expect(names).not.toContain('model.layers.0.self_attn.o_proj.scales');
    expect(names).not.toContain('lm_head.weight');
    expect(bitsPerWeight).toBeGreaterThan(5);
    expect(notes).toEqual([]);
    const index = JSON.parse(await readFile(join(out, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: unknown;
      weight_map: Record<string, string>;
    };
    expect(Object.keys(index.weight_map)).toEqual(names.toSorted());
    expect(index.metadata).toMatchObject({ total_parameters: 3 * 256 + 256 + 8 * 256 + 256 + 96 + 64 });
  });

  it('gives the layers of a recipe their bits: first and last eighth, and every third between', async () => {
    const out = join(folder, 'mixed');
    await convertToMlx(mlxAsk(await source(), out, { recipe: 'mixed_2_6' }));
    const { quantization } = (await config(out)) as { quantization: Record<string, { bits: number }> };
    const bits = Array.from({ length: 8 }, (_, i) => quantization[`model.layers.${i}.mlp.down_proj`]?.bits);
    // 8 layers: an eighth is one layer; (i - 1) % 3 == 2 is 3 and 6.
    expect(bits).toEqual([6, 2, 2, 6, 2, 2, 6, 6]);
    expect(quantization['model.layers.0.self_attn.q_proj']?.bits).toBe(2);
    expect(await tensorHash(out, 'model.layers.0.mlp.down_proj')).toBe(recorded.hashes['normal BF16 6 64']);
    expect(await tensorHash(out, 'model.layers.1.mlp.down_proj')).toBe(recorded.hashes['normal BF16 2 64']);
  });

  it('casts before it quantises, as mlx_lm.convert does', async () => {
    const path = join(folder, 'float');
    await writeFolder(
      path,
      {
        'model.safetensors': [
          { ...row('model.layers.0.mlp.up_proj.weight'), dtype: 'F32', bytes: new Uint8Array(input.buffer) },
        ],
      },
      CONFIG,
    );
    const out = join(folder, 'cast');
    await convertToMlx(mlxAsk(path, out, { bits: 3, groupSize: 128, dtype: 'f16' }));
    expect(await tensorHash(out, 'model.layers.0.mlp.up_proj')).toBe(recorded.hashes['normal F16 3 128']);
  });

  it('copies a dense folder with the same weights, cast where asked for', async () => {
    const path = await source();
    await convertToMlx(mlxAsk(path, join(folder, 'dense')));
    expect((await compareWeights(path, join(folder, 'dense'), { relativeRmseMax: 0 })).verdict).toBe('identical');
    await convertToMlx(mlxAsk(path, join(folder, 'wide'), { dtype: 'f32' }));
    expect((await compareWeights(path, join(folder, 'wide'), { relativeRmseMax: 0 })).verdict).toBe('identical');
  });

  for (const architecture of ['llama', 'qwen3'] as const) {
    it(`repacks a GGUF losslessly without --bits and quantises its values with it: ${architecture}`, async () => {
      const gguf = fixturePath(`tiny-${architecture}.gguf`);
      const lossless = join(folder, `lossless-${architecture}`);
      expect((await convertToMlx(mlxAsk(gguf, lossless))).notes).toContain(
        'Every weight is the same number as in the GGUF; that was checked.',
      );
      // f32 holds every value; 8 bits of them are close, and heads whose order was missed would be far off.
      const out = join(folder, `eight-${architecture}`);
      await convertToMlx(mlxAsk(gguf, out, { bits: 8, groupSize: 32, dtype: 'f32' }));
      const { verdict, differing } = await compareWeights(lossless, out, { relativeRmseMax: 0.02 });
      expect([verdict, differing.length > 0]).toEqual(['within', true]);
    });
  }

  it('takes the 1 out of the norms of Gemma', async () => {
    const path = join(folder, 'gemma.gguf');
    const norm = { type: 'F32', shape: [32], bytes: new Uint8Array(new Float32Array(32).fill(1.5).buffer) };
    await writeModel(path, { architecture: 'gemma2', tensors: { 'output_norm.weight': norm } });
    const out = join(folder, 'gemma');
    await convertToMlx(mlxAsk(path, out, { bits: 4, groupSize: 32 }));
    const file = join(out, 'model.safetensors');
    const found = (await readSafetensorsHeader(file)).find(({ name }) => name === 'model.norm.weight')!;
    expect([found.dtype, (await readFile(file)).readUInt16LE(found.offset)]).toEqual(['F16', 0x3800]);
  });

  it('refuses what would not come out right, before it writes anything', async () => {
    const path = await source();
    const foreign = join(folder, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, 'thesis.txt'), 'mine');
    const unknown = join(folder, 'unknown');
    await writeFolder(unknown, { 'model.safetensors': [row('a.weight')] }, { ...CONFIG, model_type: 'mamba' });
    const done = join(folder, 'done');
    await convertToMlx(mlxAsk(path, done, { bits: 4 }));
    const out = join(folder, 'refused');
    const cases: Record<string, ConvertToMlxAsk> = {
      'a folder with other things': mlxAsk(path, foreign, { bits: 4, overwrite: true }),
      'an earlier result': mlxAsk(path, done, { bits: 4 }),
      'no parent folder': mlxAsk(path, join(folder, 'no', 'where'), { bits: 4 }),
      'another architecture': mlxAsk(unknown, out, { bits: 4 }),
      'bits and recipe': mlxAsk(path, out, { bits: 4, recipe: 'mixed_2_6' }),
      'quantised already': mlxAsk(done, out, { bits: 4 }),
      'bf16 scales without loss': mlxAsk(fixturePath('tiny-llama.gguf'), out, { dtype: 'bf16' }),
      'no model': mlxAsk(join(folder, 'nothing'), out, { bits: 4 }),
      'input as output': mlxAsk(path, path, { bits: 4 }),
    };
    const messages: Record<string, string> = {};
    for (const [name, request] of Object.entries(cases)) {
      const { code, message } = await failure(convertToMlx(request));
      messages[name] = `${code}: ${message.replaceAll(folder, '')}`;
    }
    expect(messages).toMatchInlineSnapshot(`
      {
        "a folder with other things": "usage: /foreign exists and is not a model folder.",
        "an earlier result": "usage: /done exists already.",
        "another architecture": "model-unsupported: /unknown: the architecture "mamba" is not one of those that are converted here: mistral, gemma, llama, qwen2, qwen3, smollm3, gemma2, gemma3_text, phi3.",
        "bf16 scales without loss": "usage: The scales of a GGUF are not exact in bf16.",
        "bits and recipe": "usage: --recipe mixed_2_6 chooses the bits of every layer; --bits 4 contradicts it.",
        "input as output": "usage: Input and output are the same: /source.",
        "no model": "model-not-found: There is no model at /nothing.",
        "no parent folder": "usage: There is no folder /no.",
        "quantised already": "model-unsupported: /done is quantised for MLX already.",
      }
    `);
    expect(readdirSync(folder).filter((name) => name.includes('partial') || name === 'refused')).toEqual([]);
    await convertToMlx(mlxAsk(path, done, { bits: 8, overwrite: true }));
    expect((await config(done))['quantization']).toMatchObject({ bits: 8 });
  });

  for (const threads of [null, 1]) {
    it(`leaves nothing under its own name when it is stopped, ${threads === null ? 'in this thread' : 'with threads'}`, async () => {
      const own = join(folder, `own-${threads}`);
      await mkdir(own);
      const controller = new AbortController();
      const ui = {
        line() {},
        done() {},
        status: (text: string) => text.startsWith('Converting') && controller.abort(),
      };
      await expect(
        convertToMlx(mlxAsk(await source(), join(own, 'out'), { bits: 4, threads, signal: controller.signal, ui })),
      ).rejects.toMatchObject({ code: 'interrupted' });
      expect(readdirSync(own)).toEqual(['out.partial', 'out.partial.journal']);
    });
  }
});
