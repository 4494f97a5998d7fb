import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readMlxModel } from '../../../src/models/mlx/read-model.ts';
import { mlxFormat } from '../../../src/models/synthesize/mlx-config.ts';
import { makeMlxTwin } from '../../../src/models/synthesize/mlx-twin.ts';
import { planTwin, type TwinPlan } from '../../../src/models/synthesize/plan-twin.ts';
import { presetNamed } from '../../../src/models/synthesize/presets.ts';
import { CATALOGUE } from '../../../src/models/synthesize/catalogue.ts';
import { mlxName } from '../../../src/models/synthesize/mlx-names.ts';
import { tensorsOf } from '../../../src/models/synthesize/tensors.ts';
import { failure, temporaryFolder } from '../fixture.ts';

const folder = await temporaryFolder();

async function tinyPlan(family = 'llama'): Promise<TwinPlan> {
  const path = join(folder, `config-${family}.json`);
  const shape = { num_hidden_layers: 1, hidden_size: 128, intermediate_size: 192, num_attention_heads: 4 };
  await writeFile(path, JSON.stringify({ model_type: family, ...shape, vocab_size: 3_000, tie_word_embeddings: true }));
  return planTwin({ id: path, preset: presetNamed('BF16'), seed: 1, tokenizer: null, demonstrationModel: null });
}

test('4 bits in groups of 64, as mlx_lm.convert lays them out', async () => {
  const target = join(folder, 'mlx4');
  await makeMlxTwin(await tinyPlan(), { folder: target, format: mlxFormat('4bit') }, {});
  const { tensors, packingOf } = await readMlxModel(target);
  const shapes = Object.fromEntries(
    [...tensors].map(([name, { dtype, shape }]) => [name, `${dtype} ${shape.join('x')}`]),
  );
  expect(shapes).toMatchObject({
    'model.embed_tokens.weight': 'U32 3000x16',
    'model.embed_tokens.scales': 'BF16 3000x2',
    'model.embed_tokens.biases': 'BF16 3000x2',
    'model.layers.0.mlp.down_proj.weight': 'U32 128x24',
    'model.layers.0.input_layernorm.weight': 'BF16 128',
    'model.norm.weight': 'BF16 128',
  });
  expect(Object.keys(shapes)).toHaveLength(8 * 3 + 3);
  expect(packingOf('model.embed_tokens')).toEqual({ mode: 'affine', bits: 4, groupSize: 64 });
  const config = JSON.parse(await readFile(join(target, 'config.json'), 'utf8')) as Record<string, unknown>;
  expect(config).toMatchObject({
    model_type: 'llama',
    hidden_size: 128,
    torch_dtype: 'bfloat16',
    runoff_twin: { seed: 1 },
  });
  expect(existsSync(join(target, 'tokenizer.json'))).toBe(true);
  expect((await failure(makeMlxTwin(await tinyPlan(), { folder: target, format: mlxFormat('4') }, {}))).message).toBe(
    `${target} exists already`,
  );
});

async function bytesIn(target: string): Promise<(name: string) => Promise<Buffer>> {
  const { tensors } = await readMlxModel(target);
  return async (name) => {
    const { file, offset, byteLength } = tensors.get(name)!;
    return (await readFile(file)).subarray(offset, offset + byteLength);
  };
}

function bfloat(bytes: Buffer, i: number): number {
  const out = Buffer.alloc(4);
  bytes.copy(out, 2, 2 * i, 2 * i + 2);
  return out.readFloatLE();
}

test('norms of Gemma, to which MLX adds 1, are less by it', async () => {
  const meanOf = async (family: string, name: string): Promise<number> => {
    const target = join(folder, `norms-${family}-${name}`);
    await makeMlxTwin(await tinyPlan(family), { folder: target, format: mlxFormat('4') }, {});
    const bytes = await (await bytesIn(target))(`model.layers.0.${name}.weight`);
    return Array.from({ length: 128 }, (_, i) => bfloat(bytes, i)).reduce((sum, value) => sum + value, 0) / 128;
  };
  const beforeScores = Math.sqrt(2.7 / 128) / 0.02;
  expect(await meanOf('llama', 'post_attention_layernorm')).toBeCloseTo(1, 1);
  expect(await meanOf('gemma2', 'pre_feedforward_layernorm')).toBeCloseTo(0, 1);
  expect((await meanOf('llama', 'input_layernorm')) / beforeScores).toBeCloseTo(1, 1);
  expect(((await meanOf('gemma2', 'input_layernorm')) + 1) / beforeScores).toBeCloseTo(1, 1);
});

test('weights have mean 0 and a deviation of 0.02', async () => {
  const target = join(folder, 'mlx8');
  await makeMlxTwin(await tinyPlan(), { folder: target, format: mlxFormat('8') }, {});
  const bytesOf = await bytesIn(target);
  const [codes, scales, biases] = await Promise.all(
    ['weight', 'scales', 'biases'].map((part) => bytesOf(`model.embed_tokens.${part}`)),
  );
  const values = Array.from(codes!, (code, i) => {
    const group = Math.floor(i / 64);
    return code * bfloat(scales!, group) + bfloat(biases!, group);
  });
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  expect(Math.abs(mean)).toBeLessThan(1e-3);
  expect(deviation).toBeGreaterThan(0.018);
  expect(deviation).toBeLessThan(0.022);
});

describe('names', () => {
  test('every tensor of every architecture has one of its own', () => {
    for (const { shape } of CATALOGUE) {
      const names = tensorsOf(shape)
        .filter(({ kind }) => kind !== 'fixed')
        .map(({ name }) => mlxName(shape.architecture, name));
      expect(new Set(names).size).toBe(names.length);
    }
    expect(mlxName('gemma2', 'blk.3.ffn_norm.weight')).toBe('model.layers.3.pre_feedforward_layernorm.weight');
    expect(mlxName('llama', 'blk.3.ffn_norm.weight')).toBe('model.layers.3.post_attention_layernorm.weight');
    expect(mlxName('phi3', 'blk.0.attn_qkv.weight')).toBe('model.layers.0.self_attn.qkv_proj.weight');
  });

  test('a width that MLX does not have is refused', () => {
    expect(() => mlxFormat('q4_0')).toThrow('"q4_0" is not a quantisation that MLX has');
    expect(mlxFormat('bf16')).toEqual({ bits: null, dtype: 'BF16' });
  });
});
