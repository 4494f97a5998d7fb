import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { readSafetensorsHeader } from '../../../src/models/safetensors/read-header.ts';
import { failure, temporaryFolder, writeModel, type TensorSpec } from '../fixture.ts';

const count = (value: number): GgufValue => ({ type: 'u32', value });
const real = (value: number): GgufValue => ({ type: 'f32', value });
const norm = (value: number, size = 32): TensorSpec => ({
  type: 'F32',
  shape: [size],
  bytes: new Uint8Array(new Float32Array(size).fill(value).buffer),
});

const GEMMA_NORMS = {
  'output_norm.weight': norm(1.5),
  'blk.0.attn_norm.weight': norm(2),
  'blk.0.ffn_norm.weight': norm(0.25),
  'blk.0.post_attention_norm.weight': norm(1.25),
  'blk.0.post_ffw_norm.weight': norm(3),
};

describe('architectures other than llama and qwen', async () => {
  const folder = await temporaryFolder();

  async function repack(name: string, options: Parameters<typeof writeModel>[1]): Promise<Record<string, unknown>> {
    const path = join(folder, `${name}.gguf`);
    await writeModel(path, { architecture: name, ...options });
    const out = join(folder, name);
    await repackToMlx(path, out, { scales: 'f16' });
    expect((await fingerprintModel(out)).fingerprint).toBe((await fingerprintModel(path)).fingerprint);
    return JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;
  }

  async function names(name: string): Promise<string[]> {
    const tensors = await readSafetensorsHeader(join(folder, name, 'model.safetensors'));
    return tensors
      .map((tensor) => tensor.name)
      .filter((tensor) => !/\.(scales|biases)$/.test(tensor))
      .sort();
  }

  async function firstHalf(name: string, tensor: string): Promise<number> {
    const file = join(folder, name, 'model.safetensors');
    const found = (await readSafetensorsHeader(file)).find((candidate) => candidate.name === tensor)!;
    expect(found.dtype).toBe('F16');
    return (await readFile(file)).readUInt16LE(found.offset);
  }

  it('gemma2: norms lose the 1 that llama.cpp adds, and the configuration has its caps and window', async () => {
    const config = await repack('gemma2', {
      tensors: GEMMA_NORMS,
      metadata: {
        'gemma2.attn_logit_softcapping': real(40),
        'gemma2.final_logit_softcapping': real(20),
        'gemma2.attention.sliding_window': count(64),
      },
    });
    expect(config).toMatchObject({
      model_type: 'gemma2',
      architectures: ['Gemma2ForCausalLM'],
      hidden_act: 'gelu_pytorch_tanh',
      query_pre_attn_scalar: 16,
      attn_logit_softcapping: 40,
      final_logit_softcapping: 20,
      sliding_window: 64,
      tie_word_embeddings: true,
    });
    expect((await names('gemma2')).filter((tensor) => tensor.includes('norm'))).toEqual([
      'model.layers.0.input_layernorm.weight',
      'model.layers.0.post_attention_layernorm.weight',
      'model.layers.0.post_feedforward_layernorm.weight',
      'model.layers.0.pre_feedforward_layernorm.weight',
      'model.norm.weight',
    ]);
    // 0.5, 1, -0.75 and 2 as halves.
    expect(await firstHalf('gemma2', 'model.norm.weight')).toBe(0x3800);
    expect(await firstHalf('gemma2', 'model.layers.0.input_layernorm.weight')).toBe(0x3c00);
    expect(await firstHalf('gemma2', 'model.layers.0.pre_feedforward_layernorm.weight')).toBe(0xba00);
    expect(await firstHalf('gemma2', 'model.layers.0.post_feedforward_layernorm.weight')).toBe(0x4000);
  });

  it('gemma3: query and key norms, local rotary base and the pattern of its windows', async () => {
    const config = await repack('gemma3', {
      tensors: { ...GEMMA_NORMS, 'blk.0.attn_q_norm.weight': norm(1.5, 16), 'blk.0.attn_k_norm.weight': norm(1, 16) },
      metadata: {
        'gemma3.attention.sliding_window': count(512),
        'gemma3.rope.scaling.type': { type: 'string', value: 'linear' },
        'gemma3.rope.scaling.factor': real(8),
      },
    });
    expect(config).toMatchObject({
      model_type: 'gemma3_text',
      rope_local_base_freq: 10_000,
      sliding_window: 512,
      sliding_window_pattern: 6,
      rope_scaling: { rope_type: 'linear', factor: 8 },
    });
    expect(await firstHalf('gemma3', 'model.layers.0.self_attn.q_norm.weight')).toBe(0x3800);
    expect(await firstHalf('gemma3', 'model.layers.0.self_attn.k_norm.weight')).toBe(0);
  });

  it('gemma3: a norm whose weight cannot be taken out exactly is refused', async () => {
    const path = join(folder, 'inexact.gguf');
    await writeModel(path, { architecture: 'gemma3', tensors: { ...GEMMA_NORMS, 'output_norm.weight': norm(1e-9) } });
    expect((await failure(repackToMlx(path, join(folder, 'inexact'), { scales: 'f32' }))).message).toContain(
      'output_norm.weight holds 1 + weight',
    );
  });

  it('phi3: fused matrices keep their rows, and a part of each head is rotated', async () => {
    const matrix = (rows: number, columns: number): TensorSpec => ({ type: 'Q4_1', shape: [rows, columns] });
    const parts = {
      'blk.0.attn_q.weight': null,
      'blk.0.attn_k.weight': null,
      'blk.0.attn_v.weight': null,
      'blk.0.ffn_gate.weight': null,
      'blk.0.attn_qkv.weight': matrix(64, 32),
      'blk.0.ffn_up.weight': matrix(128, 32),
    };
    const config = await repack('phi3', {
      tensors: parts,
      metadata: { 'phi3.rope.dimension_count': count(12), 'phi3.rope.scaling.original_context_length': count(64) },
    });
    expect(config).toMatchObject({
      model_type: 'phi3',
      partial_rotary_factor: 0.75,
      original_max_position_embeddings: 64,
    });
    expect((await names('phi3')).filter((tensor) => tensor.includes('layers.0'))).toEqual([
      'model.layers.0.input_layernorm.weight',
      'model.layers.0.mlp.down_proj.weight',
      'model.layers.0.mlp.gate_up_proj.weight',
      'model.layers.0.post_attention_layernorm.weight',
      'model.layers.0.self_attn.o_proj.weight',
      'model.layers.0.self_attn.qkv_proj.weight',
    ]);
    const long = join(folder, 'long.gguf');
    const factors = { 'rope_factors_long.weight': norm(2, 8), 'rope_factors_short.weight': norm(1, 8) };
    await writeModel(long, { architecture: 'phi3', tensors: { ...parts, ...factors } });
    expect(await failure(repackToMlx(long, join(folder, 'long'), { scales: 'f32' }))).toMatchObject({
      code: 'model-unsupported',
    });
  });

  it('smollm3: rows are un-interleaved as for llama, and every fourth layer has no rotation', async () => {
    const random = Uint8Array.from({ length: 32 * 32 * 2 }, (_, i) => (i % 2 === 0 ? (i * 37) & 255 : 0x2c));
    const query = { 'blk.0.attn_q.weight': { type: 'F16', shape: [32, 32], bytes: random } };
    const config = await repack('smollm3', { tensors: query });
    expect(config).toMatchObject({ model_type: 'smollm3', no_rope_layer_interval: 4 });
    const file = join(folder, 'smollm3', 'model.safetensors');
    const found = (await readSafetensorsHeader(file)).find(({ name }) => name.endsWith('q_proj.weight'))!;
    const stored = (await readFile(file)).subarray(found.offset, found.offset + found.byteLength);
    // Row 1 of a head of 16 is row 2 of ggml's order.
    expect([...stored.subarray(64, 128)]).toEqual([...random.subarray(128, 192)]);
  });
});
