import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TWIN_1B } from '../../../src/core/protocol/default-model.ts';
import { CATALOGUE } from '../../../src/models/synthesize/catalogue.ts';
import { shapeOfConfig } from '../../../src/models/synthesize/config-json.ts';
import { findShape } from '../../../src/models/synthesize/find-shape.ts';
import { planTwin } from '../../../src/models/synthesize/plan-twin.ts';
import { presetNamed, typeInPreset } from '../../../src/models/synthesize/presets.ts';
import { parseTwinSpec } from '../../../src/models/synthesize/spec.ts';
import { parameterCountOf, tensorsOf } from '../../../src/models/synthesize/tensors.ts';
import { layoutTwin } from '../../../src/models/synthesize/write-twin.ts';
import { failure } from '../fixture.ts';

/** As the model cards and the safetensors headers of the models count them. */
const PARAMETERS: Readonly<Record<string, number>> = {
  'llama-3.2-1b': 1_235_814_400,
  'llama-3.2-3b': 3_212_749_824,
  'llama-3-8b': 8_030_261_248,
  'llama-3.1-8b': 8_030_261_248,
  'study-300m': 304_137_216,
  'smollm2-135m': 134_515_008,
  'smollm2-360m': 361_821_120,
  'smollm2-1.7b': 1_711_376_384,
  'smollm3-3b': 3_075_098_624,
  'qwen2.5-0.5b': 494_032_768,
  'qwen2.5-1.5b': 1_543_714_304,
  'qwen2.5-3b': 3_085_938_688,
  'qwen2.5-7b': 7_615_616_512,
  'qwen3-0.6b': 596_049_920,
  'qwen3-1.7b': 1_720_574_976,
  'qwen3-4b': 4_022_468_096,
  'qwen3-8b': 8_190_735_360,
  'gemma-2-2b': 2_614_341_888,
  'gemma-2-9b': 9_241_705_984,
  'gemma-3-1b': 999_885_952,
  'gemma-3-4b': 3_880_099_328,
  'mistral-7b-v0.3': 7_248_023_552,
  'phi-3-mini': 3_821_079_552,
};

test('every model of the catalogue has as many parameters as its card says', () => {
  expect(Object.fromEntries(CATALOGUE.map(({ id, shape }) => [id, parameterCountOf(tensorsOf(shape))]))).toEqual(
    PARAMETERS,
  );
});

/** Tensor bytes alone: of files that llama-quantize made (bartowski's and Meta's own conversions), headers taken off. */
test.each([
  // Llama-3.2-1B-Instruct: F16 2,479,595,360 and Q8_0 1,321,082,688 bytes, with a header of 7.8 MB.
  ['llama-3.2-1b', 'F16', 2_479_595_360],
  ['llama-3.2-1b', 'Q8_0', 1_321_082_688],
  ['llama-3.2-1b', 'Q4_K_M', 807_694_464],
  ['llama-3-8b', 'Q4_K_M', 4_920_733_952],
  ['llama-3-8b', 'Q8_0', 8_540_770_560],
])('%s %s is as large as the published file, but for the vocabulary', async (id, quant, published) => {
  const { file } = await planTwin({
    id,
    preset: presetNamed(quant),
    seed: 1,
    tokenizer: null,
    demonstrationModel: null,
  });
  const { totalBytes, header } = layoutTwin(file);
  const tensorBytes = totalBytes - header.byteLength;
  // Llama 3's vocabulary with its merges takes 7.82 MB of header.
  expect(published - tensorBytes).toBeGreaterThan(7.7e6);
  expect(published - tensorBytes).toBeLessThan(7.95e6);
});

test('the twin that may be the default model is as large as its choice assumes', async () => {
  const { id, preset } = parseTwinSpec(TWIN_1B.spec);
  const { file } = await planTwin({ id, preset, seed: 1, tokenizer: null, demonstrationModel: null });
  const { totalBytes, header } = layoutTwin(file);
  expect((totalBytes - header.byteLength) / TWIN_1B.fileBytes).toBeCloseTo(1, 2);
  const layers = file.tensors.filter(({ name, kind }) => name.startsWith('blk.') && kind === 'matrix');
  expect(parameterCountOf(layers) / TWIN_1B.promptParameters).toBeCloseTo(1, 2);
});

describe('the mixtures of llama-quantize', () => {
  const model = { layerCount: 16, groupedHeads: 4, tiedEmbeddings: true };
  const type = (name: string, quant: string, columns = 2_048, changes = {}): string =>
    typeInPreset({ name, dimensions: [columns, 64] }, { preset: presetNamed(quant), model: { ...model, ...changes } })
      .name;

  test('Q4_K_M gives more bits to the value and down matrices of some layers', () => {
    const layers = Array.from({ length: 16 }, (_, layer) => type(`blk.${layer}.ffn_down.weight`, 'Q4_K_M'));
    expect(layers.flatMap((name, layer) => (name === 'Q6_K' ? [layer] : []))).toEqual([0, 1, 4, 7, 10, 13, 14, 15]);
    expect(type('blk.0.attn_v.weight', 'Q4_K_M')).toBe('Q6_K');
    expect(type('blk.0.attn_qkv.weight', 'Q4_K_M')).toBe('Q6_K');
    expect(type('blk.0.attn_q.weight', 'Q4_K_M')).toBe('Q4_K');
  });

  test('Q2_K and Q3_K_M', () => {
    expect(type('blk.3.attn_v.weight', 'Q2_K')).toBe('Q4_K');
    expect(type('blk.3.attn_v.weight', 'Q2_K', 2_048, { groupedHeads: 2 })).toBe('Q3_K');
    expect(type('blk.3.attn_output.weight', 'Q2_K')).toBe('Q3_K');
    expect(type('blk.3.ffn_gate.weight', 'Q2_K')).toBe('Q2_K');
    expect(type('blk.1.attn_v.weight', 'Q3_K_M')).toBe('Q5_K');
    expect(type('blk.2.attn_v.weight', 'Q3_K_M')).toBe('Q4_K');
    expect(type('blk.0.ffn_down.weight', 'Q3_K_M')).toBe('Q5_K');
    expect(type('blk.1.ffn_down.weight', 'Q3_K_M')).toBe('Q4_K');
  });

  test('an output matrix, also one that serves as embeddings, is Q6_K', () => {
    expect(type('token_embd.weight', 'Q4_0')).toBe('Q6_K');
    expect(type('token_embd.weight', 'Q4_0', 2_048, { tiedEmbeddings: false })).toBe('Q4_0');
    expect(type('output.weight', 'Q5_1', 2_048, { tiedEmbeddings: false })).toBe('Q6_K');
    expect(type('token_embd.weight', 'Q8_0')).toBe('Q8_0');
  });

  test('Q4_0_L keeps embeddings and output in Q8_0, as files whose names end so', () => {
    expect(type('token_embd.weight', 'Q4_0_L')).toBe('Q8_0');
    expect(type('token_embd.weight', 'Q4_0_L', 2_048, { tiedEmbeddings: false })).toBe('Q8_0');
    expect(type('output.weight', 'q4_0_l', 2_048, { tiedEmbeddings: false })).toBe('Q8_0');
    expect(type('blk.3.ffn_down.weight', 'Q4_0_L')).toBe('Q4_0');
  });

  test('rows that a block does not divide fall back', () => {
    expect(type('token_embd.weight', 'Q4_0', 576)).toBe('Q8_0');
    expect(type('blk.3.attn_q.weight', 'Q4_K_M', 576)).toBe('Q5_0');
    expect(type('blk.3.attn_q.weight', 'Q5_K_M', 576)).toBe('Q5_1');
    expect(type('blk.3.attn_q.weight', 'Q2_K', 576)).toBe('Q4_0');
    expect(type('blk.3.attn_q.weight', 'Q6_K', 576)).toBe('Q8_0');
    expect(type('blk.3.attn_q.weight', 'Q4_0', 40)).toBe('F16');
  });

  test('vectors and norms stay F32', () => {
    const preset = presetNamed('Q4_0');
    expect(typeInPreset({ name: 'output_norm.weight', dimensions: [2_048] }, { preset, model }).name).toBe('F32');
    expect(typeInPreset({ name: 'blk.0.attn_q.bias', dimensions: [2_048] }, { preset, model }).name).toBe('F32');
  });

  test('bare widths stand for the usual type, anything else is refused', () => {
    expect(['q2', 'Q3', 'q4', 'q5', 'q6', 'q8', 'q4_k_m'].map((name) => presetNamed(name).name)).toEqual([
      'Q2_K',
      'Q3_K_M',
      'Q4_K_M',
      'Q5_K_M',
      'Q6_K',
      'Q8_0',
      'Q4_K_M',
    ]);
    expect(() => presetNamed('iq2_xs')).toThrow('"iq2_xs" is not a quantisation that a twin can have');
  });
});

describe('config.json', () => {
  const llama = {
    model_type: 'llama',
    num_hidden_layers: 16,
    hidden_size: 2_048,
    intermediate_size: 8_192,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128_256,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8_192,
    },
    tie_word_embeddings: true,
  };
  const problem = (config: unknown): string => {
    try {
      shapeOfConfig(config, 'config.json');
    } catch (error) {
      return String(error);
    }
    return 'accepted';
  };

  test("Llama 3.2 1B's own gives the shape of the catalogue", () => {
    expect(shapeOfConfig(llama, 'config.json')).toEqual(CATALOGUE.find(({ id }) => id === 'llama-3.2-1b')?.shape);
  });

  test('the text part of a model that also sees', () => {
    const text = { ...llama, model_type: 'gemma3_text', rope_scaling: null, head_dim: 256 };
    expect(shapeOfConfig({ model_type: 'gemma3', text_config: text }, 'c').architecture).toBe('gemma3');
  });

  test.each([
    ['no object', null, 'it is no object'],
    ['a missing number', { ...llama, hidden_size: undefined }, 'hidden_size'],
    ['a negative number', { ...llama, num_hidden_layers: -1 }, 'num_hidden_layers'],
    ['a number beyond every model', { ...llama, hidden_size: 2 ** 63 }, 'hidden_size'],
    ['a text for a number', { ...llama, vocab_size: '128256' }, 'vocab_size'],
    [
      'heads that do not divide',
      { ...llama, head_dim: null, num_attention_heads: 7, num_key_value_heads: 7 },
      '7 heads',
    ],
    ['another type of model', { ...llama, model_type: 'mamba' }, 'of type mamba'],
    ['experts', { ...llama, num_local_experts: 8 }, 'mixture of experts'],
    ['another rotary scaling', { ...llama, rope_scaling: { rope_type: 'yarn', factor: 4 } }, 'yarn'],
    ['biases', { ...llama, attention_bias: true }, 'biases'],
  ])('refused: %s', (_, config, reason) => {
    expect(problem(config)).toContain(reason);
  });

  test('an unknown id names the known ones', async () => {
    const { code, message, hint } = await failure(findShape('llama-9-1b'));
    expect({ code, message }).toEqual({
      code: 'model-not-found',
      message: 'there is no model "llama-9-1b" to make a twin of',
    });
    expect(hint).toContain('llama-3.2-1b');
  });

  test('a shape alone needs a quantisation', async () => {
    const ask = { id: 'qwen3-0.6b', preset: null, seed: 1, tokenizer: null, demonstrationModel: null };
    expect(await failure(planTwin(ask))).toMatchObject({ code: 'usage' });
    expect(await failure(findShape(join('nowhere', 'config.json')))).toMatchObject({ code: 'model-not-found' });
  });
});
