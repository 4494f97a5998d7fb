import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { mkdir, open, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { floatToHalf } from '../../../src/models/half.ts';
import { llama3Factors } from '../../../src/models/mlx/llama3-factors.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { readSafetensorsHeader } from '../../../src/models/safetensors/read-header.ts';
import { failure, fixturePath, temporaryFolder, tinyModels, writeModel } from '../fixture.ts';

describe('repackToMlx', async () => {
  const folder = await temporaryFolder();
  const scrub = (text: string): string => text.replaceAll(folder, '');

  for (const architecture of ['llama', 'qwen2', 'qwen3'] as const) {
    for (const scales of ['f32', 'f16'] as const) {
      it(`writes the bytes that numpy computed: ${architecture}, ${scales} scales`, async () => {
        const out = join(folder, `${architecture}-${scales}`);
        await repackToMlx(fixturePath(`tiny-${architecture}.gguf`), out, { scales });
        expect(await tensorHashes(join(out, 'model.safetensors'))).toEqual(tinyModels[architecture].mlx[scales]);
        expect((await fingerprintModel(out)).fingerprint).toBe(tinyModels[architecture].fingerprint);
      });
    }
  }

  it('writes a configuration with an entry for every layer that differs', async () => {
    const out = join(folder, 'config');
    await repackToMlx(fixturePath('tiny-qwen3.gguf'), out, { scales: 'f16' });
    expect(readdirSync(out).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'model.safetensors.index.json',
      'runoff.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config['quantization_config']).toEqual(config['quantization']);
    expect(config).toMatchInlineSnapshot(`
      {
        "architectures": [
          "Qwen3ForCausalLM",
        ],
        "attention_bias": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "mlp_bias": false,
        "model_type": "qwen3",
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "quantization": {
          "bits": 8,
          "group_size": 32,
          "mode": "affine",
          "model.layers.0.mlp.down_proj": false,
          "model.layers.0.mlp.up_proj": false,
          "model.layers.0.self_attn.k_proj": {
            "bits": 4,
            "group_size": 32,
            "mode": "affine",
          },
          "model.layers.0.self_attn.o_proj": {
            "bits": 5,
            "group_size": 32,
            "mode": "affine",
          },
          "model.layers.0.self_attn.q_proj": {
            "bits": 4,
            "group_size": 32,
            "mode": "affine",
          },
          "model.layers.0.self_attn.v_proj": {
            "bits": 5,
            "group_size": 32,
            "mode": "affine",
          },
        },
        "quantization_config": {
          "bits": 8,
          "group_size": 32,
          "mode": "affine",
          "model.layers.0.mlp.down_proj": false,
          "model.layers.0.mlp.up_proj": false,
          "model.layers.0.self_attn.k_proj": {
            "bits": 4,
            "group_size": 32,
            "mode": "affine",
          },
          "model.layers.0.self_attn.o_proj": {
            "bits": 5,
            "group_size": 32,
            "mode": "affine",
          },
          "model.layers.0.self_attn.q_proj": {
            "bits": 4,
            "group_size": 32,
            "mode": "affine",
          },
          "model.layers.0.self_attn.v_proj": {
            "bits": 5,
            "group_size": 32,
            "mode": "affine",
          },
        },
        "rms_norm_eps": 0.00001,
        "rope_scaling": null,
        "rope_theta": 10000,
        "rope_traditional": false,
        "tie_word_embeddings": true,
        "torch_dtype": "float16",
        "vocab_size": 40,
      }
    `);
  });

  it('carries every block format over, and the fingerprint stays the same', async () => {
    for (const type of ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'F16', 'BF16', 'F32']) {
      const path = join(folder, `all-${type}.gguf`);
      await writeModel(path, { tensors: matricesOf(type) });
      const { fingerprint } = await fingerprintModel(path);
      for (const scales of ['f32', 'f16'] as const) {
        const out = join(folder, `all-${type}-${scales}`);
        await repackToMlx(path, out, { scales });
        expect([type, scales, (await fingerprintModel(out)).fingerprint]).toEqual([type, scales, fingerprint]);
      }
    }
  });

  it('keeps a norm in f32 and says so where f16 would change it', async () => {
    const path = join(folder, 'norm.gguf');
    await writeModel(path, {
      tensors: {
        'output_norm.weight': {
          type: 'F32',
          shape: [32],
          bytes: new Uint8Array(new Float32Array(32).fill(0.1).buffer),
        },
      },
    });
    const { warnings } = await repackToMlx(path, join(folder, 'norm'), { scales: 'f16' });
    expect(warnings[0]).toBe(
      'model.norm.weight stays F32: its values are not exact in F16. MLX then computes in float32 from that layer on.',
    );
    expect((await fingerprintModel(join(folder, 'norm'))).fingerprint).toBe((await fingerprintModel(path)).fingerprint);
  });

  it('reuses a complete conversion, and makes it again when the source, the scales or a file changed', async () => {
    const path = join(folder, 'again.gguf');
    const out = join(folder, 'again');
    await writeModel(path);
    const reused = async (scales: 'f32' | 'f16'): Promise<boolean> => (await repackToMlx(path, out, { scales })).reused;
    expect([await reused('f32'), await reused('f32'), await reused('f16'), await reused('f16')]).toEqual([
      false,
      true,
      false,
      true,
    ]);
    await utimes(path, 1, 1);
    expect([await reused('f16'), await reused('f16')]).toEqual([false, true]);
    await writeFile(join(out, 'config.json'), '{}');
    expect([await reused('f16'), await reused('f16')]).toEqual([false, true]);
  });

  it('never touches a folder that it did not write', async () => {
    const out = join(folder, 'foreign');
    await mkdir(out);
    await writeFile(join(out, 'thesis.txt'), 'mine');
    const result = await failure(repackToMlx(fixturePath('tiny-llama.gguf'), out, { scales: 'f32' }));
    expect({ ...result, message: scrub(result.message) }).toEqual({
      code: 'conversion-failed',
      message: 'The output folder /foreign exists and is not a conversion of this program: 1 entries, no runoff.json.',
      hint: 'Choose another folder, or remove this one.',
    });
    expect(readdirSync(out)).toEqual(['thesis.txt']);
  });

  it('leaves nothing behind when it is aborted or fails', async () => {
    const own = join(folder, 'own');
    await mkdir(own);
    const controller = new AbortController();
    const aborted = repackToMlx(fixturePath('tiny-llama.gguf'), join(own, 'out'), {
      scales: 'f32',
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(own)).toEqual([]);
    const infinite = new Uint8Array(18 * 8);
    new DataView(infinite.buffer).setUint16(18, 0x7c00, true);
    const path = join(folder, 'infinite.gguf');
    await writeModel(path, { tensors: { 'token_embd.weight': { type: 'Q4_0', shape: [8, 32], bytes: infinite } } });
    expect((await failure(repackToMlx(path, join(own, 'out'), { scales: 'f32' }))).message).toContain(
      'Tensor token_embd.weight has an infinite scale',
    );
    expect(readdirSync(own)).toEqual([]);
  });

  it('refuses a zero point that overflows f16, and takes it with f32 scales', async () => {
    const bytes = new Uint8Array(34 * 8);
    new DataView(bytes.buffer).setUint16(0, floatToHalf(512), true);
    const path = join(folder, 'large.gguf');
    await writeModel(path, { tensors: { 'token_embd.weight': { type: 'Q8_0', shape: [8, 32], bytes } } });
    expect(await failure(repackToMlx(path, join(folder, 'large'), { scales: 'f16' }))).toEqual({
      code: 'conversion-failed',
      message: 'Tensor token_embd.weight has a scale so large that its zero point overflows f16.',
      hint: 'Convert with f32 scales instead.',
    });
    await repackToMlx(path, join(folder, 'large'), { scales: 'f32' });
  });

  it('recognises Llama 3.2 rotary factors and refuses others', async () => {
    const factors = Float32Array.from(llama3Factors({ headSize: 16, ropeBase: 10_000, factor: 32, original: 8192 }));
    const path = join(folder, 'rope.gguf');
    const write = (values: Float32Array): Promise<void> =>
      writeModel(path, {
        tensors: { 'rope_freqs.weight': { type: 'F32', shape: [8], bytes: new Uint8Array(values.slice().buffer) } },
      });
    await write(factors);
    await repackToMlx(path, join(folder, 'rope'), { scales: 'f32' });
    const config = JSON.parse(await readFile(join(folder, 'rope', 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config['rope_scaling']).toEqual({
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    });
    await write(factors.map((value, i) => (i === 6 ? value * 1.001 : value)));
    expect((await failure(repackToMlx(path, join(folder, 'rope-2'), { scales: 'f32' }))).code).toBe(
      'model-unsupported',
    );
  });

  it('refuses what it cannot carry over faithfully, and says what comes nearest', async () => {
    const cases: Record<string, Parameters<typeof writeModel>[1]> = {
      'a K-quant': { tensors: { 'output.weight': { type: 'Q6_K', shape: [8, 256] } } },
      'another architecture': { architecture: 'mamba' },
      experts: { metadata: { 'llama.expert_count': { type: 'u32', value: 8 } } },
      'partial rotation': { metadata: { 'llama.rope.dimension_count': { type: 'u32', value: 8 } } },
      yarn: {
        metadata: {
          'llama.rope.scaling.type': { type: 'string', value: 'yarn' },
          'llama.rope.scaling.factor': { type: 'f32', value: 4 },
        },
      },
      'an unknown tensor': { tensors: { 'blk.0.ssm_a.weight': { type: 'F32', shape: [4] } } },
      'a tensor named like a prototype': { tensors: { 'constructor.weight': { type: 'F32', shape: [4] } } },
      'a missing layer': { metadata: { 'llama.block_count': { type: 'u32', value: 2 } } },
      'no layer count': { metadata: { 'llama.block_count': null } },
      'heads that do not fit': { metadata: { 'llama.attention.key_length': { type: 'u32', value: 32 } } },
    };
    const messages: Record<string, string> = {};
    for (const [name, options] of Object.entries(cases)) {
      const path = join(folder, 'refused.gguf');
      await writeModel(path, options);
      const { code, message, hint } = await failure(repackToMlx(path, join(folder, 'refused'), { scales: 'f16' }));
      messages[name] = scrub(`${code}: ${message} ${hint ?? ''}`);
    }
    expect(messages).toMatchInlineSnapshot(`
      {
        "a K-quant": "model-unsupported: /refused.gguf: tensor output.weight is Q6_K, which has no lossless form in MLX: its scales are for groups of 16 weights, and the smallest group of MLX has 32. Nearest in size with one: Q8_0. Or quantise anew, with a loss: runoff models convert --to mlx --bits 4.",
        "a missing layer": "model-invalid: /refused.gguf: the header announces 2 layers but model.layers.1.self_attn.q_proj.weight is missing. Download or convert the model again.",
        "a tensor named like a prototype": "model-unsupported: /refused.gguf: the tensor constructor.weight is not part of a dense llama model as this program knows it. Engines that read GGUF can still run it.",
        "an unknown tensor": "model-unsupported: /refused.gguf: the tensor blk.0.ssm_a.weight is not part of a dense llama model as this program knows it. Engines that read GGUF can still run it.",
        "another architecture": "model-unsupported: /refused.gguf: the architecture mamba is not supported for MLX or fingerprints; these are: llama, qwen2, qwen3, smollm3, gemma2, gemma3, phi3. Engines that read GGUF can still run it.",
        "experts": "model-unsupported: /refused.gguf: mixtures of experts (8 here) are not supported for MLX or fingerprints. Engines that read GGUF can still run it.",
        "heads that do not fit": "model-invalid: /refused.gguf: blk.0.attn_q.weight has 32 rows, 2 heads of 32 need 64. Download or convert the model again.",
        "no layer count": "model-invalid: /refused.gguf: the header has no llama.block_count, a positive whole number is needed. Convert or download the model again.",
        "partial rotation": "model-unsupported: /refused.gguf: rotary size 8 and value size 16 differ from the head size 16. Engines that read GGUF can still run it.",
        "yarn": "model-unsupported: /refused.gguf: the rotary scaling yarn (factor 4) has no proven equal in MLX. Compare only engines that read GGUF for this model.",
      }
    `);
  });
});

async function tensorHashes(path: string): Promise<Record<string, string>> {
  const handle = await open(path, 'r');
  try {
    const hashes: Record<string, string> = {};
    for (const { name, offset, byteLength } of await readSafetensorsHeader(path)) {
      const bytes = Buffer.alloc(byteLength);
      await handle.read(bytes, 0, byteLength, offset);
      hashes[name] = createHash('sha256').update(bytes).digest('hex');
    }
    return hashes;
  } finally {
    await handle.close();
  }
}

/** Every matrix in one type, with bytes that differ everywhere and finite scales. */
function matricesOf(type: string): Record<string, { type: string; shape: number[]; bytes: Uint8Array }> {
  const shapes: Record<string, [number, number]> = {
    'token_embd.weight': [8, 32],
    'blk.0.attn_q.weight': [32, 32],
    'blk.0.attn_k.weight': [16, 32],
    'blk.0.attn_v.weight': [16, 32],
    'blk.0.attn_output.weight': [32, 32],
    'blk.0.ffn_gate.weight': [64, 32],
    'blk.0.ffn_up.weight': [64, 32],
    'blk.0.ffn_down.weight': [32, 64],
  };
  const blockBytes: Record<string, number> = {
    Q4_0: 18,
    Q4_1: 20,
    Q5_0: 22,
    Q5_1: 24,
    Q8_0: 34,
    F16: 64,
    BF16: 64,
    F32: 128,
  };
  const size = blockBytes[type] as number;
  return Object.fromEntries(
    Object.entries(shapes).map(([name, [rows, columns]]) => {
      const bytes = new Uint8Array(((rows * columns) / 32) * size);
      let state = rows * 31 + columns;
      for (let i = 0; i < bytes.length; i++) {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        // Scales (the first bytes of a block, little-endian) stay small: exponent bits never all ones.
        const isScaleTop = size < 64 ? i % size === 1 || i % size === 3 : i % 2 === 1;
        bytes[i] = isScaleTop ? (state >>> 16) & 0x9b : state >>> 16;
      }
      return [name, { type, shape: [rows, columns], bytes }];
    }),
  );
}
