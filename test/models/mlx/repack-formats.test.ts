import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { openWeights } from '../../../src/models/weights/weights.ts';
import { bitsOf, failure, finiteBlocks, temporaryFolder, writeModel } from '../fixture.ts';

/** Formats that MLX can hold exactly beside the simple ones, with the packing and the scales that it takes. */
const FORMS = {
  Q4_K: { group_size: 32, bits: 4, mode: 'affine', scales: ['F32', 'F32'] },
  Q5_K: { group_size: 32, bits: 5, mode: 'affine', scales: ['F32', 'F32'] },
  IQ4_XS: { group_size: 32, bits: 8, mode: 'affine', scales: ['F32', 'F32'] },
  IQ4_NL: { group_size: 32, bits: 8, mode: 'affine', scales: ['F16', 'F32'] },
  TQ1_0: { group_size: 128, bits: 2, mode: 'affine', scales: ['F16', 'F32'] },
  TQ2_0: { group_size: 128, bits: 2, mode: 'affine', scales: ['F16', 'F32'] },
  MXFP4: { group_size: 32, bits: 4, mode: 'mxfp4', scales: ['U8', 'U8'] },
} as const;
type Form = keyof typeof FORMS;

describe('the lossless repack of formats with their own grids', async () => {
  const folder = await temporaryFolder();

  for (const type of Object.keys(FORMS) as Form[]) {
    it(`gives gguf-py's values back from MLX: ${type}`, async () => {
      const { bytes, values } = finiteBlocks(type);
      const path = join(folder, `${type}.gguf`);
      await writeModel(path, { tensors: { 'output.weight': { type, shape: [values.length / 256, 256], bytes } } });
      for (const [i, scales] of (['f16', 'f32'] as const).entries()) {
        const out = join(folder, `${type}-${scales}`);
        await repackToMlx(path, out, { scales });
        expect(bitsOf(await valuesOf(out, 'lm_head.weight'))).toEqual(bitsOf(values));
        expect((await fingerprintModel(out)).fingerprint).toBe((await fingerprintModel(path)).fingerprint);
        const { group_size, bits, mode, scales: dtypes } = FORMS[type];
        const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8')) as Config;
        // The other matrices are Q4_1, the commonest.
        const expected = { group_size, bits, mode };
        const own = config.quantization['lm_head'] ?? config.quantization;
        expect(own).toMatchObject(expected);
        expect(await dtypeOf(out, 'lm_head.scales')).toBe(dtypes[i]);
      }
    });
  }

  it('refuses an infinite scale of a K-quant and an exponent that is NaN in MLX', async () => {
    const infinite = new Uint8Array(144);
    infinite[1] = 0x7c;
    const notANumber = new Uint8Array(17 * 8).fill(255);
    const cases = { Q4_K: [infinite, 1], MXFP4: [notANumber, 1] } as const;
    for (const [type, [bytes, rows]] of Object.entries(cases)) {
      const path = join(folder, `bad-${type}.gguf`);
      await writeModel(path, { tensors: { 'output.weight': { type, shape: [rows, 256], bytes } } });
      expect(await failure(repackToMlx(path, join(folder, `bad-${type}`), { scales: 'f32' }))).toMatchObject({
        code: 'model-invalid',
      });
    }
  });

  it('says why there is no lossless form and what is nearest', async () => {
    const hints: Record<string, string> = {};
    for (const type of ['Q2_K', 'Q3_K', 'Q6_K', 'IQ2_XS']) {
      const path = join(folder, 'none.gguf');
      await writeModel(path, { tensors: { 'output.weight': { type, shape: [8, 256] } } });
      const { message, hint } = await failure(repackToMlx(path, join(folder, 'none'), { scales: 'f32' }));
      hints[type] = `${message.split(': ').at(-1)} ${hint?.split('. ')[0]}`;
    }
    expect(hints).toMatchInlineSnapshot(`
      {
        "IQ2_XS": "its values come from a codebook, and a group of MLX is an even grid. Nearest in size with one: IQ4_XS",
        "Q2_K": "its scales are for groups of 16 weights, and the smallest group of MLX has 32. Nearest in size with one: Q4_K",
        "Q3_K": "its scales are for groups of 16 weights, and the smallest group of MLX has 32. Nearest in size with one: Q4_K",
        "Q6_K": "its scales are for groups of 16 weights, and the smallest group of MLX has 32. Nearest in size with one: Q8_0",
      }
    `);
  });
});

interface Config {
  readonly quantization: Record<string, unknown>;
}

async function valuesOf(path: string, name: string): Promise<Float32Array> {
  const weights = await openWeights(path);
  try {
    const tensor = weights.tensors.find((candidate) => candidate.name === name)!;
    const out = new Float32Array(tensor.rows * tensor.columns);
    tensor.read(0, tensor.rows, out);
    return out.map((value) => value + 0);
  } finally {
    await weights.close();
  }
}

async function dtypeOf(folder: string, name: string): Promise<string> {
  const bytes = await readFile(join(folder, 'model.safetensors'));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE()))) as Record<
    string,
    { dtype: string }
  >;
  return header[name]!.dtype;
}
