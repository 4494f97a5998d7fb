/** JSON.parse of the whole text is the measure: the same value, or refused by both. */
import { deepStrictEqual } from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { createRandom } from '../../../src/core/random.ts';
import { encoderOf } from '../../../src/models/tokenizer/encode-all.ts';
import { withTokenizerDocument } from '../../../src/models/tokenizer/tokenizer-document.ts';
import { fixturePath, temporaryFolder } from '../fixture.ts';

const folder = await temporaryFolder();
const path = join(folder, 'tokenizer.json');

interface Read {
  readonly value: unknown;
  /** What was given apart. */
  readonly apart: readonly string[];
}

function read(content: string | Uint8Array): Read {
  writeFileSync(path, content);
  return readAt(path);
}

function readAt(file: string): Read {
  return withTokenizerDocument(file, ({ rest, vocabulary, merges }) => {
    const model = rest['model'] as Record<string, unknown>;
    if (vocabulary !== null) model['vocab'] = Object.fromEntries(vocabulary);
    if (merges !== null) model['merges'] = [...merges];
    return { value: rest, apart: [...(vocabulary === null ? [] : ['vocab']), ...(merges === null ? [] : ['merges'])] };
  });
}

function parsed(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

/** Strings with everything that could mislead about where they end; several pieces of each part. */
function largeFile(spaces?: number): string {
  const tokens = Array.from({ length: 12_000 }, (_, i) => `${['', '"', '\\', '},', ']:{', ',', 'é', '👋'][i % 8]}${i}`);
  return JSON.stringify(
    {
      added_tokens: [{ id: 1, content: '{"model":{"vocab":{' }],
      model: {
        type: 'BPE',
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: tokens.map((token) => [token, token]),
        dropout: null,
      },
      decoder: { model: { vocab: { no: 1 } } },
    },
    null,
    spaces,
  );
}

describe('a tokenizer.json in pieces', () => {
  it.each(['llama3', 'qwen2', 'gpt2', 'smollm', 'deepseek', 'phi3', 'unknown', 'sentencepiece-json'])(
    'is the whole file: %s',
    (name) => {
      const file = fixturePath(join('tokenizers', name, 'tokenizer.json'));
      const { value, apart } = readAt(file);
      expect(apart).toEqual(['vocab', 'merges']);
      deepStrictEqual(value, parsed(readFileSync(file)));
    },
  );

  it.each([undefined, 2])('is the whole of a large file, indented by %s', (spaces) => {
    const text = largeFile(spaces);
    const { value, apart } = read(text);
    expect(apart).toEqual(['vocab', 'merges']);
    deepStrictEqual(value, JSON.parse(text));
  });

  it('takes the last of equal keys', () => {
    const text =
      '{"model":{"vocab":{"x":1},"merges":["a b"]},"model":{"vocab":{"y":1},"vocab":{"z":2,"z":3},"merges":[]}}';
    expect(read(text)).toEqual({ value: { model: { vocab: { z: 3 }, merges: [] } }, apart: ['vocab', 'merges'] });
  });

  it.each([
    ['a list', '{"model":{"vocab":[["a",1]],"merges":{}}}'],
    ['a number', '{"model":{"vocab":1,"merges":null}}'],
    ['a key with an escape', String.raw`{"model":{"voc\u0061b":{"a":1},"vocab":{"b":2}}}`],
    ['a later value that is none', '{"model":{"vocab":{"a":1},"vocab":5}}'],
    ['a second model that is none', '{"model":{"vocab":{"a":1}},"model":5}'],
    ['another place', '{"vocab":{"a":1},"models":{"vocab":{"a":1}},"x":{"model":{"vocab":{"a":1}}}}'],
  ])('gives nothing apart for %s', (_, text) => {
    expect(read(text)).toEqual({ value: JSON.parse(text), apart: [] });
  });

  it.each([
    '{"model":{"vocab":{"a":1,}}}',
    '{"model":{"vocab":{,}}}',
    '{"model":{"vocab":{"a":1]}}',
    '{"model":{"merges":["a b",]}}',
    '{"model":{"merges":["a b"}}',
    '{"model":{"vocab":{"a":1}}',
    '{"model":{"vocab":{"a":1}}}}',
    '{"model":{"vocab":{"a":1}}} x',
    '{"model":{"vocab":{"a":"\n"}}}',
    '',
  ])('refuses %s', (text) => {
    expect(() => read(text)).toThrow('it is not JSON');
  });

  it('refuses a comma too many where the pieces are cut', () => {
    const text = largeFile();
    const end = text.indexOf('},"merges"');
    expect(() => read(`${text.slice(0, end)},${text.slice(end)}`)).toThrow('it is not JSON');
  });

  it('accepts a byte order mark at the start of the file alone', () => {
    expect(read('\ufeff{"model":{"vocab":{"a":1}}}').value).toEqual({ model: { vocab: { a: 1 } } });
    expect(() => read('{"model":{"vocab":{\ufeff"a":1}}}')).toThrow('it is not JSON');
  });

  it('refuses what is not UTF-8, wherever it stands', () => {
    for (const key of ['vocab', 'x']) {
      const bytes = Buffer.from(`{"model":{"${key}":{"a?":1}}}`);
      bytes[bytes.indexOf('?')] = 0xff;
      expect(() => read(bytes)).toThrow('it is not UTF-8');
    }
  });

  it('gives what JSON.parse gives, or an error where it gives one, after a byte was changed', () => {
    const whole = Buffer.from(largeFile());
    const random = createRandom('tokenizer-document');
    const marks = Buffer.from('{}[],:"\\ 0x');
    for (let run = 0; run < 60; run++) {
      const bytes = Buffer.from(whole);
      bytes[random.integer(bytes.length)] = marks[random.integer(marks.length)] as number;
      const [mine, theirs] = [() => read(bytes).value, () => parsed(bytes)].map(valueOf);
      deepStrictEqual(mine, theirs);
    }
  });
});

function valueOf(make: () => unknown): unknown {
  try {
    return make();
  } catch (error) {
    if (error instanceof AppError || error instanceof SyntaxError || error instanceof TypeError) return 'refused';
    throw error;
  }
}

describe("Hugging Face's tokenizer, given the vocabulary and the merges in pieces, makes the ids of the Rust one", () => {
  it.each(['llama3', 'qwen2', 'gpt2', 'smollm', 'deepseek', 'unknown', 'sentencepiece-json'])('%s', (name) => {
    const file = (part: string): string => fixturePath(join('tokenizers', name, part));
    const encode = withTokenizerDocument(file('tokenizer.json'), encoderOf);
    for (const { text, ids } of JSON.parse(readFileSync(file('ids.json'), 'utf8')) as { text: string; ids: number[] }[])
      expect([text, encode(text)]).toEqual([text, ids]);
  });
});
