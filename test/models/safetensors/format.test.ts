import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DTYPE_BYTES, layoutSafetensors, planBytes, type Dtype } from '../../../src/models/safetensors/format.ts';
import { readSafetensorsHeader } from '../../../src/models/safetensors/read-header.ts';
import { failure, temporaryFolder } from '../fixture.ts';

describe('safetensors', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'case.safetensors');

  it('reads back what the writer laid out', async () => {
    const dtypes = Object.keys(DTYPE_BYTES) as Dtype[];
    const plan = fc.record({
      name: fc.string({ minLength: 1 }).filter((name) => name !== '__metadata__' && name !== '__proto__'),
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.nat(5), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(plan, { selector: ({ name }) => name, maxLength: 8 }), async (plans) => {
        const layout = layoutSafetensors(plans, { format: 'mlx' });
        await writeFile(path, Buffer.concat([layout.header], layout.totalBytes));
        const read = await readSafetensorsHeader(path);
        const expected = plans.map((entry, i) => ({
          ...entry,
          offset: layout.offsets[i],
          byteLength: planBytes(entry),
        }));
        expect(read.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(
          expected.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
        );
        expect(layout.header.length % 8).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('refuses headers that cannot be true', async () => {
    const file = (entries: unknown, data = 8): Buffer => {
      const json = Buffer.from(typeof entries === 'string' ? entries : JSON.stringify(entries));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(json.length));
      return Buffer.concat([length, json, Buffer.alloc(data)]);
    };
    const a = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
    const cases: Record<string, Buffer> = {
      'an empty file': Buffer.alloc(0),
      'an absurd header': Buffer.alloc(16, 0xff),
      'a header beyond the end': Buffer.concat([Buffer.from([100, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')]),
      'no JSON': file('{"a":'),
      'a list': file([]),
      'a tensor that is no object': file({ a: 1 }),
      'an unknown dtype': file({ a: { ...a, dtype: 'F12' } }),
      'a negative size': file({ a: { ...a, shape: [-2] } }),
      'an overflowing shape': file({ a: { ...a, shape: [2 ** 40, 2 ** 40] } }),
      'offsets that do not fit the shape': file({ a: { ...a, data_offsets: [0, 4] } }),
      'offsets backwards': file({ a: { ...a, data_offsets: [8, 0] } }),
      'a cut file': file({ a }, 3),
    };
    const messages: Record<string, string> = {};
    for (const [name, bytes] of Object.entries(cases)) {
      await writeFile(path, bytes);
      const { code, message } = await failure(readSafetensorsHeader(path));
      messages[name] = `${code}: ${message.replaceAll(folder, '')}`;
    }
    expect(messages).toMatchInlineSnapshot(`
      {
        "a cut file": "model-invalid: /case.safetensors is not a usable safetensors file: it is incomplete: a ends at byte 70 of 65, 5 bytes are missing.",
        "a header beyond the end": "model-invalid: /case.safetensors is not a usable safetensors file: its header needs 100 bytes, 98 are missing.",
        "a list": "model-invalid: /case.safetensors is not a usable safetensors file: its header is not an object.",
        "a negative size": "model-invalid: /case.safetensors is not a usable safetensors file: a has the shape [-2].",
        "a tensor that is no object": "model-invalid: /case.safetensors is not a usable safetensors file: the entry of a is not an object.",
        "an absurd header": "model-invalid: /case.safetensors is not a usable safetensors file: its header claims 18446744073709551615 bytes, 100000000 are allowed.",
        "an empty file": "model-invalid: /case.safetensors is not a usable safetensors file: it has 0 bytes.",
        "an overflowing shape": "model-invalid: /case.safetensors is not a usable safetensors file: a occupies 8 bytes, its shape and dtype need 4.835703278458517e+24.",
        "an unknown dtype": "model-invalid: /case.safetensors is not a usable safetensors file: a has the unknown dtype "F12".",
        "no JSON": "model-invalid: /case.safetensors is not a usable safetensors file: its header is not JSON.",
        "offsets backwards": "model-invalid: /case.safetensors is not a usable safetensors file: a occupies -8 bytes, its shape and dtype need 8.",
        "offsets that do not fit the shape": "model-invalid: /case.safetensors is not a usable safetensors file: a occupies 4 bytes, its shape and dtype need 8.",
      }
    `);
    expect((await failure(readSafetensorsHeader(join(folder, 'absent')))).code).toBe('model-not-found');
  });
});
