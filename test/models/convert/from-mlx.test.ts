import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeConverted } from '../../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder } from '../../../src/models/convert/plan.ts';
import type { QuantName } from '../../../src/models/convert/recipes.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { numberOf } from '../../../src/models/gguf/metadata.ts';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { failure, finiteBlocks, temporaryFolder, writeModel } from '../fixture.ts';
import { writeFolder, type FolderTensor } from '../model-folder.ts';

const RUN = { libraryPath: null, importancePath: null, onProgress: () => {} } as const;

async function toGguf(folder: string, out: string, quant: QuantName | null = null): Promise<string> {
  const plan = await planFromFolder(folder, { quant, tokenizer: new Map(), importance: null });
  await writeConverted(plan, out, RUN);
  return out;
}

/** Type and bytes of one tensor. */
async function tensorOf(path: string, name: string): Promise<{ type: string; bytes: Buffer }> {
  const tensor = (await readGgufHeader(path)).tensors.find((candidate) => candidate.name === name)!;
  const handle = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(tensor.byteLength);
    await handle.read(bytes, 0, bytes.length, tensor.offset);
    return { type: tensor.type.name, bytes };
  } finally {
    await handle.close();
  }
}

describe('a GGUF that went through MLX', async () => {
  const folder = await temporaryFolder();

  /** What holds each type when it comes back: itself but for TQ1_0, whose digits lie differently. */
  const COMES_BACK_AS = {
    Q4_K: 'Q4_K',
    Q5_K: 'Q5_K',
    IQ4_NL: 'IQ4_NL',
    IQ4_XS: 'IQ4_XS',
    TQ1_0: 'TQ2_0',
    TQ2_0: 'TQ2_0',
    MXFP4: 'MXFP4',
    Q4_0: 'Q4_0',
    Q4_1: 'Q4_1',
    Q5_0: 'Q5_0',
    Q5_1: 'Q5_1',
    Q8_0: 'Q8_0',
  } as const;

  for (const [type, back] of Object.entries(COMES_BACK_AS)) {
    it(`comes back with the same weights: ${type} as ${back}`, async () => {
      const path = join(folder, `${type}.gguf`);
      const gateOrUp = { type: 'Q4_1', shape: [256, 32] };
      await writeModel(path, {
        metadata: { 'llama.feed_forward_length': { type: 'u32', value: 256 } },
        tensors: {
          'blk.0.ffn_gate.weight': gateOrUp,
          'blk.0.ffn_up.weight': gateOrUp,
          'blk.0.ffn_down.weight': blocksOf(type),
        },
      });
      for (const scales of ['f32', 'f16'] as const) {
        const mlx = join(folder, `${type}-${scales}`);
        await repackToMlx(path, mlx, { scales });
        const again = await toGguf(mlx, join(folder, `${type}-${scales}.gguf`));
        expect((await tensorOf(again, 'blk.0.ffn_down.weight')).type).toBe(back);
        expect((await fingerprintModel(again)).fingerprint).toBe((await fingerprintModel(path)).fingerprint);
      }
    });
  }

  it('comes back byte for byte, query and key rows included', async () => {
    const types = { attn_q: 'Q4_1', attn_k: 'Q4_0', attn_v: 'Q5_1', attn_output: 'Q5_0', ffn_gate: 'Q8_0' } as const;
    const shapes = { attn_q: [32, 32], attn_k: [16, 32], attn_v: [16, 32], attn_output: [32, 32], ffn_gate: [64, 32] };
    const entries = Object.entries(types).map(([part, type]) => {
      const shape = shapes[part as keyof typeof shapes];
      return [`blk.0.${part}.weight`, { type, shape, bytes: patterned(type, (shape[0]! * shape[1]!) / 32) }] as const;
    });
    const path = join(folder, 'bytes.gguf');
    await writeModel(path, { tensors: Object.fromEntries(entries) });
    await repackToMlx(path, join(folder, 'bytes'), { scales: 'f16' });
    const again = await toGguf(join(folder, 'bytes'), join(folder, 'bytes-again.gguf'));
    for (const [name, { type, bytes }] of entries) {
      expect([name, await tensorOf(again, name)]).toEqual([name, { type, bytes: Buffer.from(bytes) }]);
    }
  });

  it('keeps dense types, norms of Gemma and the description', async () => {
    const norm = { type: 'F32', shape: [32], bytes: new Uint8Array(new Float32Array(32).fill(1.25).buffer) };
    const norms = ['attn_norm', 'ffn_norm', 'post_attention_norm', 'post_ffw_norm'];
    const path = join(folder, 'gemma.gguf');
    await writeModel(path, {
      architecture: 'gemma2',
      tensors: {
        ...Object.fromEntries(norms.map((name) => [`blk.0.${name}.weight`, norm])),
        'output_norm.weight': norm,
        'token_embd.weight': { type: 'BF16', shape: [8, 32] },
        'blk.0.ffn_down.weight': { type: 'F16', shape: [32, 64] },
        'blk.0.ffn_up.weight': { type: 'F32', shape: [64, 32] },
      },
    });
    await repackToMlx(path, join(folder, 'gemma'), { scales: 'f16' });
    const again = await toGguf(join(folder, 'gemma'), join(folder, 'gemma-again.gguf'));
    expect((await compareWeights(path, again, { relativeRmseMax: 0 })).verdict).toBe('identical');
    const types = new Map((await readGgufHeader(again)).tensors.map(({ name, type }) => [name, type.name]));
    expect(
      ['token_embd', 'blk.0.ffn_down', 'blk.0.ffn_up', 'blk.0.attn_q', 'output_norm'].map((name) =>
        types.get(`${name}.weight`),
      ),
      // Zeros of Q4_1 are zeros of Q4_0, which is smaller.
    ).toEqual(['BF16', 'F16', 'F32', 'Q4_0', 'F32']);
    const [before, after] = [(await readGgufHeader(path)).metadata, (await readGgufHeader(again)).metadata];
    for (const key of [
      'block_count',
      'embedding_length',
      'feed_forward_length',
      'attention.head_count',
      'context_length',
    ])
      expect([key, numberOf(after, `gemma2.${key}`)]).toEqual([key, numberOf(before, `gemma2.${key}`)]);
    expect(numberOf(after, 'general.file_type')).toBe(2);
  });
});

/** 32 rows of 256 of a type, from gguf-py's blocks, over and over, where there are some. */
function blocksOf(type: string): { type: string; shape: number[]; bytes: Uint8Array } {
  const shape = [32, 256];
  if (['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0'].includes(type)) return { type, shape, bytes: patterned(type, 256) };
  const { bytes: some, values } = finiteBlocks(type);
  const bytes = new Uint8Array((some.byteLength / values.length) * 32 * 256);
  for (let i = 0; i < bytes.length; i++) bytes[i] = some[i % some.byteLength]!;
  return { type, shape, bytes };
}

/** Blocks whose bytes differ everywhere and whose halves are finite. */
function patterned(type: string, blocks: number): Uint8Array {
  const size = { Q4_0: 18, Q4_1: 20, Q5_0: 22, Q5_1: 24, Q8_0: 34 }[type]!;
  const bytes = new Uint8Array(blocks * size);
  let state = 9;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    // The upper byte of a half: exponent bits never all ones, nor so large that 128 times it overflows.
    const isTop = i % size === 1 || (type.endsWith('_1') && i % size === 3);
    bytes[i] = isTop ? (state >>> 16) & 0x9b : state >>> 16;
  }
  return bytes;
}

const HIDDEN = 32;
const FEED = 256;

interface Packed {
  readonly bits: number;
  readonly groupSize: number;
  readonly dtype: 'F16' | 'BF16' | 'F32';
  /** Of down_proj: 32 rows of 256, one code each. */
  readonly codes: (row: number, column: number) => number;
  readonly scale: (group: number) => number;
  readonly bias: (group: number) => number;
}

/** An MLX folder whose down_proj is packed and whose other weights are zeros. */
async function writeMlx(
  folder: string,
  packed: Packed,
  more: { config?: Record<string, unknown>; tensors?: readonly FolderTensor[] } = {},
): Promise<void> {
  const layer = 'model.layers.0';
  const groups = (HIDDEN * FEED) / packed.groupSize;
  const perRow = FEED / packed.groupSize;
  const floats = (values: (group: number) => number): Uint8Array =>
    floatBytes(
      Float32Array.from({ length: groups }, (_, group) => values(group)),
      packed.dtype,
    );
  const module = `${layer}.mlp.down_proj`;
  const tensors = [
    zeros('model.embed_tokens.weight', 8, HIDDEN),
    zeros('model.norm.weight', HIDDEN),
    zeros(`${layer}.input_layernorm.weight`, HIDDEN),
    zeros(`${layer}.post_attention_layernorm.weight`, HIDDEN),
    zeros(`${layer}.self_attn.q_proj.weight`, HIDDEN, HIDDEN),
    zeros(`${layer}.self_attn.k_proj.weight`, HIDDEN / 2, HIDDEN),
    zeros(`${layer}.self_attn.v_proj.weight`, HIDDEN / 2, HIDDEN),
    zeros(`${layer}.self_attn.o_proj.weight`, HIDDEN, HIDDEN),
    zeros(`${layer}.mlp.gate_proj.weight`, FEED, HIDDEN),
    zeros(`${layer}.mlp.up_proj.weight`, FEED, HIDDEN),
    {
      name: `${module}.weight`,
      dtype: 'U32',
      shape: [HIDDEN, (FEED * packed.bits) / 32],
      bytes: bitStream(packed),
    },
    { name: `${module}.scales`, dtype: packed.dtype, shape: [HIDDEN, perRow], bytes: floats(packed.scale) },
    { name: `${module}.biases`, dtype: packed.dtype, shape: [HIDDEN, perRow], bytes: floats(packed.bias) },
    ...(more.tensors ?? []),
  ];
  const quantization = { group_size: packed.groupSize, bits: packed.bits, mode: 'affine' };
  await writeFolder(
    folder,
    { 'model.safetensors': tensors },
    {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      vocab_size: 8,
      hidden_size: HIDDEN,
      intermediate_size: FEED,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      tie_word_embeddings: true,
      quantization,
      quantization_config: quantization,
      ...more.config,
    },
  );
}

function zeros(name: string, ...shape: number[]): FolderTensor {
  const bytes = new Uint8Array(2 * shape.reduce((product, size) => product * size, 1));
  return { name, dtype: 'F16', shape, bytes };
}

/** Value j has the bits [j * bits, (j + 1) * bits) of its row, lowest first: bit by bit, to be sure. */
function bitStream({ bits, codes }: Packed): Uint8Array {
  const rowBytes = (FEED * bits) / 8;
  const bytes = new Uint8Array(HIDDEN * rowBytes);
  for (let row = 0; row < HIDDEN; row++) {
    for (let column = 0; column < FEED; column++) {
      for (let bit = 0; bit < bits; bit++) {
        const at = column * bits + bit;
        bytes[row * rowBytes + (at >>> 3)]! |= ((codes(row, column) >>> bit) & 1) << (at & 7);
      }
    }
  }
  return bytes;
}

/** Cut to the dtype: the values of these tests fit. */
function floatBytes(values: Float32Array, dtype: Packed['dtype']): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer);
  const words = new Uint32Array(values.buffer);
  const halves = Uint16Array.from(words, (word) => {
    if (dtype === 'BF16') return word >>> 16;
    const exponent = ((word >>> 23) & 255) - 112;
    return exponent <= 0
      ? (word >>> 16) & 0x8000
      : ((word >>> 16) & 0x8000) | (exponent << 10) | ((word >>> 13) & 0x3ff);
  });
  return new Uint8Array(halves.buffer);
}

const DOWN = 'blk.0.ffn_down.weight';

describe('a folder that MLX has quantised', async () => {
  const folder = await temporaryFolder();
  const affine = (more: Partial<Packed>): Packed => ({
    bits: 4,
    groupSize: 64,
    dtype: 'BF16',
    codes: (row, column) => (row + 3 * column) % 16,
    scale: (group) => 0.25 + group / 512,
    bias: (group) => -1.5 - (group % 32) / 128,
    ...more,
  });
  const refusal = async (packed: Packed): Promise<string> => {
    await writeMlx(join(folder, 'refused'), packed);
    const { code, message, hint } = await failure(toGguf(join(folder, 'refused'), join(folder, 'refused.gguf')));
    return `${code}: ${message.replaceAll(folder, '')} ${hint ?? ''}`;
  };

  it('keeps every code of 4 bits and repeats the scale of a group of 64 for both halves', async () => {
    await writeMlx(join(folder, 'four'), affine({}));
    const { type, bytes } = await tensorOf(await toGguf(join(folder, 'four'), join(folder, 'four.gguf')), DOWN);
    expect(type).toBe('Q4_1');
    for (const [row, block] of [
      [0, 0],
      [0, 1],
      [5, 7],
    ] as const) {
      const group = 4 * row + Math.floor(block / 2);
      const at = (8 * row + block) * 20;
      // 0.25 is 0x3400 in half precision, with steps of 2^-12; -1.5 is 0xbe00, with steps of 2^-10.
      expect(bytes.readUInt16LE(at)).toBe(0x3400 + group * 8);
      expect(bytes.readUInt16LE(at + 2)).toBe(0xbe00 + (group % 32) * 8);
      const code = (j: number): number => (row + 3 * (32 * block + j)) % 16;
      expect([...bytes.subarray(at + 4, at + 20)]).toEqual(
        Array.from({ length: 16 }, (_, j) => code(j) | (code(j + 16) << 4)),
      );
    }
  });

  it.each([2, 3] as const)('holds %i bits in blocks of 4', async (bits) => {
    const name = `bits-${bits}`;
    await writeMlx(join(folder, name), affine({ bits, codes: (row, column) => (row + column) % (1 << bits) }));
    const out = await toGguf(join(folder, name), join(folder, `${name}.gguf`));
    expect((await tensorOf(out, DOWN)).type).toBe('Q4_1');
    expect((await compareWeights(join(folder, name), out, { relativeRmseMax: 0 })).verdict).toBe('identical');
  });

  it('drops a scale that no code uses: groups of equal weights have one of 1e-7, which a half cannot hold', async () => {
    const isFlat = (group: number): boolean => group % 4 === 1;
    const packed = affine({
      codes: (row, column) => (isFlat(Math.floor(column / 64)) ? 0 : (row + column) % 16),
      scale: (group) => (isFlat(group) ? 1e-7 : 0.25),
    });
    await writeMlx(join(folder, 'flat'), packed);
    const out = await toGguf(join(folder, 'flat'), join(folder, 'flat.gguf'));
    expect((await compareWeights(join(folder, 'flat'), out, { relativeRmseMax: 0 })).verdict).toBe('identical');
    const { bytes } = await tensorOf(out, DOWN);
    expect([0, 1, 2, 3, 4].map((block) => bytes.readUInt16LE(20 * block))).toEqual([0x3400, 0x3400, 0, 0, 0x3400]);
  });

  it('is refused with the reason and the nearest form where a GGUF cannot hold it', async () => {
    expect({
      'six bits': await refusal(affine({ bits: 6 })),
      'a scale of 24 bits': await refusal(affine({ dtype: 'F32', scale: (group) => (group === 9 ? 1 / 3 : 0.25) })),
      'a bias of 24 bits': await refusal(affine({ dtype: 'F32', bias: () => 1 / 3 })),
      'another zero point': await refusal(affine({ bits: 8, groupSize: 32, bias: (group) => -32 - group / 16 })),
      'an infinite scale': await refusal(affine({ scale: () => Infinity })),
    }).toMatchInlineSnapshot(`
      {
        "a bias of 24 bits": "model-unsupported: /refused: model.layers.0.mlp.down_proj.weight (4 bits, groups of 64) has no lossless form in GGUF: the bias 0.3333333432674408 in row 0 is not exact in half precision, in which Q4_1 stores it. Nearest: --quant q8_0, made from the dequantised values, with a small loss; --quant f32 keeps every value.",
        "a scale of 24 bits": "model-unsupported: /refused: model.layers.0.mlp.down_proj.weight (4 bits, groups of 64) has no lossless form in GGUF: the scale 0.3333333432674408 in row 2 is not exact in half precision, in which Q4_1 stores it. Nearest: --quant q8_0, made from the dequantised values, with a small loss; --quant f32 keeps every value.",
        "an infinite scale": "model-invalid: /refused: model.layers.0.mlp.down_proj.weight has a scale or a bias that is infinite or NaN: the model is damaged, and no engine computes with it. Download or convert the model again.",
        "another zero point": "model-unsupported: /refused: model.layers.0.mlp.down_proj.weight (8 bits, groups of 32) has no lossless form in GGUF: the bias -32 in row 0 is not the one that Q8_0 implies for the scale 0.251953125. Nearest: --quant q8_0, made from the dequantised values, with a small loss; --quant f32 keeps every value.",
        "six bits": "model-unsupported: /refused: model.layers.0.mlp.down_proj.weight (6 bits, groups of 64) has no lossless form in GGUF: ggml has no blocks of 6-bit integers with a scale for 32 weights. Nearest: --quant q8_0, made from the dequantised values, with a small loss; --quant f32 keeps every value.",
      }
    `);
  });

  it('is quantised from its values with --quant, and says what it was', async () => {
    await writeMlx(join(folder, 'six'), affine({ bits: 6, codes: (row, column) => (7 * row + column) % 64 }));
    const options = { tokenizer: new Map(), importance: null };
    const plan = await planFromFolder(join(folder, 'six'), { ...options, quant: 'Q8_0' });
    expect(plan.quantisedBefore).toEqual(['6-bit affine']);
    const eight = await toGguf(join(folder, 'six'), join(folder, 'six-8.gguf'), 'Q8_0');
    const { verdict, differing } = await compareWeights(join(folder, 'six'), eight, { relativeRmseMax: 0.01 });
    expect([verdict, differing.map(({ name }) => name)]).toEqual(['within', ['model.layers.0.mlp.down_proj.weight']]);
    const wide = await toGguf(join(folder, 'six'), join(folder, 'six-32.gguf'), 'F32');
    expect((await compareWeights(join(folder, 'six'), wide, { relativeRmseMax: 0 })).verdict).toBe('identical');
  });

  it('leaves out a second copy of a tied output matrix', async () => {
    await writeMlx(join(folder, 'tied'), affine({}), { tensors: [zeros('lm_head.weight', 8, HIDDEN)] });
    const out = await toGguf(join(folder, 'tied'), join(folder, 'tied.gguf'));
    expect((await readGgufHeader(out)).tensors.map(({ name }) => name)).not.toContain('output.weight');
  });

  it('is refused with ggml’s order of the rows', async () => {
    await writeMlx(join(folder, 'order'), affine({}), { config: { rope_traditional: true } });
    expect(await failure(toGguf(join(folder, 'order'), join(folder, 'order.gguf')))).toMatchObject({
      code: 'model-unsupported',
      message: expect.stringContaining('rope_traditional is true') as string,
    });
  });
});
