import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseNdjson } from '../../../src/platform/network/ndjson.ts';

const chunk = (atMs: number, text: string) => ({ atMs, bytes: Buffer.from(text) });

test('a line has the time of the chunk that completed it', () => {
  expect(parseNdjson([chunk(1, '{"a":1}\n{"b"'), chunk(5, ':2}\n'), chunk(9, '\n \r\n{"c":3}\r\n')])).toEqual([
    { atMs: 1, line: '{"a":1}' },
    { atMs: 5, line: '{"b":2}' },
    { atMs: 9, line: '{"c":3}' },
  ]);
});

test('a last line without its line feed was cut off', () => {
  expect(parseNdjson([chunk(1, '{"a":1}\n{"b":2}')])).toEqual([{ atMs: 1, line: '{"a":1}' }]);
});

test('wherever the stream is cut, in the middle of a character too, the lines are the same', () => {
  const text = Buffer.from('{"response":" é🙂"}\n{"response":"ß"}\n{"done":true}\n');
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), text.length];
      const chunks = places.slice(1).map((end, index) => ({ atMs: index, bytes: text.subarray(places[index], end) }));
      expect(parseNdjson(chunks).map(({ line }) => line)).toEqual([
        '{"response":" é🙂"}',
        '{"response":"ß"}',
        '{"done":true}',
      ]);
    }),
    { numRuns: 300 },
  );
});
