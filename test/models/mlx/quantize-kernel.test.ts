import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COMPILED, compileWat } from '../../../scripts/compile-wasm.ts';
import { narrowInPlace, QuantizeKernel, type FloatDtype } from '../../../src/models/mlx/quantize-kernel.ts';
import { floatsFromBase64 } from '../fixture.ts';

/** Recorded from mx.quantize on the CPU (fixtures/record_mlx_quantize.py). */
const recorded = JSON.parse(readFileSync(new URL('../fixtures/mlx-quantize.json', import.meta.url), 'utf8')) as {
  readonly mlx: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly hashes: Readonly<Record<string, string>>;
};
const NAN: Readonly<Record<FloatDtype, [infinity: number, nan: number]>> = {
  F32: [0x7f80_0000, 0x7fc0_0000],
  F16: [0x7c00, 0x7e00],
  BF16: [0x7f80, 0x7fc0],
};

describe(`the quantiser is bit-exact with mx.quantize of mlx ${recorded.mlx} on the CPU`, () => {
  const kernel = new QuantizeKernel();
  for (const [name, text] of Object.entries(recorded.inputs)) {
    it(`on ${name}: every dtype, width and group size`, () => {
      for (const dtype of ['F32', 'F16', 'BF16'] as const) {
        const input = narrowInPlace(floatsFromBase64(text), dtype);
        expect(digest(dtype, [canonical(input, dtype)])).toBe(recorded.hashes[`${name} ${dtype} input`]);
        const wrong: string[] = [];
        for (const bits of [2, 3, 4, 5, 6, 8]) {
          for (const groupSize of [32, 64, 128]) {
            kernel.source.set(input);
            const slab = kernel.run(256, dtype, { bits, groupSize, rounding: 'cpu' });
            const parts = [slab.codes, canonical(slab.scales, dtype), canonical(slab.biases, dtype)];
            const key = `${name} ${dtype} ${bits} ${groupSize}`;
            if (digest(dtype, parts) !== recorded.hashes[key]) wrong.push(key);
          }
        }
        expect(wrong).toEqual([]);
      }
    });
  }
});

describe('rounding as on Metal (from its source; not run on that hardware)', () => {
  const kernel = new QuantizeKernel();

  function quantise(
    values: readonly number[],
    rounding: 'cpu' | 'metal',
  ): { codes: number[]; scale: number; bias: number } {
    new Float32Array(kernel.source.buffer, kernel.source.byteOffset, 32).set(values);
    const slab = kernel.run(32, 'F32', { bits: 8, groupSize: 32, rounding });
    const float = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
    return { codes: [...slab.codes], scale: float(slab.scales), bias: float(slab.biases) };
  }

  it('rounds halves away from zero where the CPU rounds them to even', () => {
    const values = [-255, 0, -252.5, -251.5, ...Array.from({ length: 28 }, () => -255)];
    expect(quantise(values, 'cpu')).toMatchObject({ scale: 1, bias: -255, codes: expect.arrayContaining([2, 4]) });
    expect(quantise(values, 'metal').codes.slice(0, 4)).toEqual([0, 255, 3, 4]);
    expect(quantise(values, 'cpu').codes.slice(0, 4)).toEqual([0, 255, 2, 4]);
  });

  it('lets the largest of an all-negative group be 0', () => {
    const values = Array.from({ length: 32 }, (_, i) => -100 - i);
    expect(quantise(values, 'cpu').scale).toBeCloseTo(31 / 255, 1);
    expect(quantise(values, 'metal').scale).toBeCloseTo(131 / 255, 2);
  });
});

it.each(COMPILED)('%s is compiled from the source beside it (npm run generate)', async (path) => {
  expect(Buffer.from(await compileWat(path)).equals(readFileSync(path))).toBe(true);
});

function canonical(bytes: Uint8Array, dtype: FloatDtype): Uint8Array {
  const [infinity, nan] = NAN[dtype];
  const copy = bytes.slice();
  const values = dtype === 'F32' ? new Uint32Array(copy.buffer) : new Uint16Array(copy.buffer);
  const magnitude = dtype === 'F32' ? 0x7fff_ffff : 0x7fff;
  values.forEach((value, i) => {
    if ((value & magnitude) > infinity) values[i] = nan;
  });
  return copy;
}

function digest(_dtype: FloatDtype, parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 16);
}
