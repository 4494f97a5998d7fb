import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeComparison } from '../../../src/app/verify.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { failure, fixturePath, temporaryFolder, tinyModels, writeModel } from '../fixture.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { writeFolder, type FolderTensor } from '../model-folder.ts';

const limits = { relativeRmseMax: 0.15 };
const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

describe('compareWeights', async () => {
  const folder = await temporaryFolder();

  for (const architecture of ['llama', 'qwen2', 'qwen3'] as const) {
    it(`finds a GGUF and its MLX form identical, reordered heads and biases included: ${architecture}`, async () => {
      const mlx = join(folder, architecture);
      await repackToMlx(fixturePath(`tiny-${architecture}.gguf`), mlx, { scales: 'f32' });
      const result = await compareWeights(fixturePath(`tiny-${architecture}.gguf`), mlx, limits);
      expect(result).toMatchObject({
        verdict: 'identical',
        identicalTensorCount: Object.keys(tinyModels[architecture].tensors).length,
        a: { format: 'gguf' },
        b: { format: 'mlx' },
        overall: { differingCount: 0, maxAbsolute: 0, relativeRmse: 0 },
      });
    });
  }

  async function pair(a: readonly FolderTensor[], b: readonly FolderTensor[]): Promise<[string, string]> {
    const paths: [string, string] = [join(folder, 'pair-a'), join(folder, 'pair-b')];
    await writeFolder(paths[0], { 'model.safetensors': a });
    await writeFolder(paths[1], { 'model.safetensors': b });
    return paths;
  }

  it('measures how far off each tensor is, worst first, and separates within from different by the limit', async () => {
    const same = { name: 'same.weight', dtype: 'F32', shape: [2], bytes: floats(1, -0) } as const;
    const zero = { ...same, bytes: floats(1, 0) };
    const [a, b] = await pair(
      [
        same,
        { name: 'far.weight', dtype: 'F32', shape: [1, 4], bytes: floats(3, 4, 0, 0) },
        { name: 'near.weight', dtype: 'F32', shape: [2, 2], bytes: floats(10, 0, 0, 0) },
      ],
      [
        zero,
        { name: 'far.weight', dtype: 'F32', shape: [1, 4], bytes: floats(3, 4, 0.3, 0.4) },
        { name: 'near.weight', dtype: 'F32', shape: [2, 2], bytes: floats(10, 0, 0, 0.1) },
      ],
    );
    const result = await compareWeights(a, b, limits);
    expect(result).toMatchObject({ verdict: 'within', identicalTensorCount: 1, valueCount: 10 });
    expect(result.differing.map(({ name, differingCount }) => [name, differingCount])).toEqual([
      ['far.weight', 2],
      ['near.weight', 1],
    ]);
    // sqrt(0.25) / 5 and 0.1 / 10; overall sqrt(0.26 / (1 + 25 + 100)).
    expect(result.differing[0]!.relativeRmse).toBeCloseTo(0.1, 6);
    expect(result.differing[0]!.maxAbsolute).toBeCloseTo(0.4, 6);
    expect(result.differing[1]!.relativeRmse).toBeCloseTo(0.01, 6);
    expect(result.overall.relativeRmse).toBeCloseTo(Math.sqrt(0.26 / 126), 6);
    expect((await compareWeights(a, b, { relativeRmseMax: 0.05 })).verdict).toBe('different');
    expect(describeComparison(result, 100).replaceAll(folder, '')).toMatchInlineSnapshot(`
      "Within 0.100: the same tensors, and the worst one is off by that relative RMSE (limit 0.15).
        a: /pair-a (safetensors)
        b: /pair-b (safetensors)
        1 of 3 tensors identical; over all values: 3 of 10 differ, max |a - b| 0.400, relative RMSE 0.0454
        far.weight: relative RMSE 0.100, max 0.400 (F32 against F32)
        near.weight: relative RMSE 0.0100, max 0.100 (F32 against F32)"
    `);
  });

  it('takes a NaN against a number as infinitely far, and NaN against NaN as the same', async () => {
    const tensor = (...values: number[]): FolderTensor => ({
      name: 'x.weight',
      dtype: 'F32',
      shape: [1, values.length],
      bytes: floats(...values),
    });
    const [a, b] = await pair([tensor(NaN, 1)], [tensor(NaN, NaN)]);
    const { verdict, differing } = await compareWeights(a, b, { relativeRmseMax: 10 });
    expect([verdict, differing[0]?.differingCount, differing[0]?.maxAbsolute]).toEqual(['different', 1, Infinity]);
    const [c, d] = await pair([tensor(NaN, 1)], [tensor(NaN, 1)]);
    expect((await compareWeights(c, d, limits)).verdict).toBe('identical');
  });

  it('names what is missing on either side and what has another shape', async () => {
    const tensor = (name: string, shape: number[]): FolderTensor => ({
      name,
      dtype: 'F32',
      shape,
      bytes: floats(...Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 1)),
    });
    const [a, b] = await pair(
      [tensor('both.weight', [2]), tensor('only.a', [1]), tensor('shape.weight', [2, 3])],
      [tensor('both.weight', [2]), tensor('only.b', [1]), tensor('shape.weight', [3, 2])],
    );
    const result = await compareWeights(a, b, limits);
    expect(result).toMatchObject({
      verdict: 'different',
      missingIn: { a: ['only.b'], b: ['only.a'] },
      otherShapes: [{ name: 'shape.weight', a: '2 x 3', b: '3 x 2' }],
    });
    expect(describeComparison(result, 100).replaceAll(folder, '')).toMatchInlineSnapshot(`
      "Different: the tensors are not the same.
        a: /pair-a (safetensors)
        b: /pair-b (safetensors)
        not in a: only.b
        not in b: only.a
        shape.weight: 2 x 3 in a, 3 x 2 in b"
    `);
  });

  it('compares a stored output matrix with the embeddings where the other file ties them', async () => {
    const embeddings = {
      name: 'model.embed_tokens.weight',
      dtype: 'F32',
      shape: [2, 2],
      bytes: floats(1, 2, 3, 4),
    } as const;
    const [a, b] = await pair([embeddings, { ...embeddings, name: 'lm_head.weight' }], [embeddings]);
    expect(await compareWeights(a, b, limits)).toMatchObject({ verdict: 'identical', tiedOutput: 'b' });
  });

  it('reads sharded Hugging Face folders in every dense type, and gives a GGUF of the same weights the same fingerprint', async () => {
    const gguf = join(folder, 'dense.gguf');
    const half = Uint8Array.from({ length: 32 * 8 * 2 }, (_, i) => (i % 2 === 0 ? (i * 29) & 255 : 0x2c + (i % 5)));
    const row = (value: number): Uint8Array => floats(...Array.from({ length: 32 }, () => value));
    await writeModel(gguf, {
      architecture: 'qwen2',
      tensors: {
        'token_embd.weight': { type: 'F16', shape: [8, 32], bytes: half },
        'output_norm.weight': { type: 'F32', shape: [32], bytes: row(0.5) },
      },
    });
    const zeros = (name: string, shape: number[]): FolderTensor => ({
      name: `model.layers.0.${name}.weight`,
      dtype: 'BF16',
      shape,
      bytes: new Uint8Array(2 * shape.reduce((a, b) => a * b, 1)),
    });
    const hf = join(folder, 'hf');
    await writeFolder(
      hf,
      {
        'model-00001-of-00002.safetensors': [
          { name: 'model.embed_tokens.weight', dtype: 'F16', shape: [8, 32], bytes: half },
          { name: 'model.layers.0.self_attn.rotary_emb.inv_freq', dtype: 'F32', shape: [4], bytes: floats(1, 2, 3, 4) },
          { name: 'lm_head.weight', dtype: 'F16', shape: [8, 32], bytes: half },
          zeros('input_layernorm', [32]),
          zeros('post_attention_layernorm', [32]),
          zeros('self_attn.q_proj', [32, 32]),
          zeros('self_attn.k_proj', [16, 32]),
        ],
        'model-00002-of-00002.safetensors': [
          { name: 'model.norm.weight', dtype: 'F32', shape: [32], bytes: row(0.5) },
          zeros('self_attn.v_proj', [16, 32]),
          zeros('self_attn.o_proj', [32, 32]),
          zeros('mlp.gate_proj', [64, 32]),
          zeros('mlp.up_proj', [64, 32]),
          zeros('mlp.down_proj', [32, 64]),
        ],
      },
      { model_type: 'qwen2', tie_word_embeddings: true },
    );
    expect((await compareWeights(gguf, hf, limits)).verdict).toBe('identical');
    expect((await fingerprintModel(hf)).fingerprint).toBe((await fingerprintModel(gguf)).fingerprint);
  });

  it('says which shard of an index is missing, and never opens a path from the index', async () => {
    const hf = join(folder, 'cut');
    const tensor: FolderTensor = { name: 'a.weight', dtype: 'F32', shape: [1], bytes: floats(1) };
    await writeFolder(hf, { 'model-00001-of-00002.safetensors': [tensor] });
    await writeFile(
      join(hf, 'model.safetensors.index.json'),
      JSON.stringify({
        weight_map: { 'a.weight': 'model-00001-of-00002.safetensors', 'b.weight': '../../etc/passwd' },
      }),
    );
    expect((await failure(fingerprintModel(hf))).message).toContain(
      'b.weight is missing; the index says it is in passwd',
    );
  });

  it('refuses a folder that is quantised by other methods, with the way out', async () => {
    const gptq = join(folder, 'gptq');
    await mkdir(gptq);
    await writeFile(
      join(gptq, 'config.json'),
      JSON.stringify({ quantization_config: { quant_method: 'gptq', bits: 4 } }),
    );
    expect(await failure(fingerprintModel(gptq))).toMatchObject({
      code: 'model-unsupported',
      hint: 'Take the model in F32, F16 or BF16, as MLX, or as a GGUF.',
    });
  });
});
