import { describe, expect, it } from 'vitest';
import { quantizeQ4_0 } from '../../../src/models/quantize/q4-0.ts';
import { blocks, floatsFromBase64, fromBase64 } from '../fixture.ts';

describe('quantizeQ4_0', () => {
  it('writes the bytes of the reference, for ordinary, zero, subnormal, NaN and extreme values', () => {
    const values = floatsFromBase64(blocks.quantizeQ4_0.values);
    const out = new Uint8Array((values.length / 32) * 18);
    quantizeQ4_0(values, out);
    expect(Buffer.from(out).toString('hex')).toBe(Buffer.from(fromBase64(blocks.quantizeQ4_0.bytes)).toString('hex'));
  });
});
