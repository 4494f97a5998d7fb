import { describe, expect, it } from 'vitest';
import { canDequantize, dequantize } from '../../../src/models/gguf/dequantize.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { bitsOf, blocks, floatsFromBase64, fromBase64 } from '../fixture.ts';

describe('dequantize', () => {
  for (const [name, { bytes, values }] of Object.entries(blocks.dequantize)) {
    it(`gives numpy's values for ${name}, with zero, negative, subnormal, infinite and NaN scales`, () => {
      const expected = floatsFromBase64(values);
      const out = new Float32Array(expected.length);
      dequantize(tensorTypeNamed(name), fromBase64(bytes), { out, values: expected.length });
      expect(bitsOf(out)).toEqual(bitsOf(expected));
    });
  }

  it('names the formats that it knows when it is given another', () => {
    expect(canDequantize(tensorTypeNamed('Q6_K'))).toBe(false);
    const call = (): void =>
      dequantize(tensorTypeNamed('Q6_K'), new Uint8Array(210), { out: new Float32Array(256), values: 256 });
    expect(call).toThrow('Values in the format Q6_K cannot be read by this program.');
  });
});
