import { describe, expect, it } from 'vitest';
import { canDequantize, dequantize } from '../../../src/models/gguf/dequantize.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { bitsOf, blocks, floatsFromBase64, fromBase64, ggmlBlocks } from '../fixture.ts';

describe('dequantize', () => {
  for (const [name, { bytes, values }] of Object.entries(blocks.dequantize)) {
    it(`gives numpy's values for ${name}, with zero, negative, subnormal, infinite and NaN scales`, () => {
      const expected = floatsFromBase64(values);
      const out = new Float32Array(expected.length);
      dequantize(tensorTypeNamed(name), fromBase64(bytes), { out, values: expected.length });
      expect(bitsOf(out)).toEqual(bitsOf(expected));
    });
  }

  for (const [name, { bytes, values }] of Object.entries(ggmlBlocks)) {
    it(`gives gguf-py's values for ${name}, with zero, negative, subnormal and infinite scales`, () => {
      const expected = floatsFromBase64(values);
      const out = new Float32Array(expected.length);
      dequantize(tensorTypeNamed(name), fromBase64(bytes), { out, values: expected.length });
      expect(bitsOf(out)).toEqual(bitsOf(expected));
    });
  }

  it('names the formats that it knows when it is given another', () => {
    expect(canDequantize(tensorTypeNamed('IQ2_XXS'))).toBe(false);
    const call = (): void =>
      dequantize(tensorTypeNamed('IQ2_XXS'), new Uint8Array(66), { out: new Float32Array(256), values: 256 });
    expect(call).toThrow('Values in the format IQ2_XXS cannot be read by this program.');
  });
});
