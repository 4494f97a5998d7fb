import { expect, test } from 'vitest';
import { EncodedStrings } from '../../../src/models/gguf/encoded-strings.ts';

const utf8 = (text: string): Uint8Array => Buffer.from(text, 'utf8');

/** As the GGUF specification writes an array: item type (8 is string), count, and each string after its length. */
function asInAFile(...items: readonly string[]): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(8);
  head.writeBigUInt64LE(BigInt(items.length), 4);
  const parts = items.flatMap((item) => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(Buffer.byteLength(item)));
    return [length, Buffer.from(item)];
  });
  return Buffer.concat([head, ...parts]);
}

test('strings, in the form that they have in a file', () => {
  const strings = new EncodedStrings(2, 2);
  strings.add(utf8('Ġ'));
  strings.add(utf8('é'));
  expect(strings.count).toBe(2);
  expect(Buffer.from(strings.finish().bytes)).toEqual(asInAFile('Ġ', 'é'));
});

test('every first piece with the first second one, then with the next, until there are enough', () => {
  const strings = new EncodedStrings(5, 4);
  strings.addProduct(['Ġa', '', 'b'].map(utf8), ['x', 'y'].map(utf8), 5);
  expect(strings.count).toBe(5);
  expect(Buffer.from(strings.finish().bytes)).toEqual(asInAFile('Ġax', 'x', 'bx', 'Ġay', 'y'));
});

test('more and longer strings than were announced', () => {
  const strings = new EncodedStrings(1, 1);
  const long = 'word'.repeat(1_000);
  strings.add(utf8('a!'));
  strings.addProduct([long, 'b'].map(utf8), [utf8('!')], 9);
  strings.add(utf8(long));
  expect(Buffer.from(strings.finish().bytes)).toEqual(asInAFile('a!', `${long}!`, 'b!', long));
});
