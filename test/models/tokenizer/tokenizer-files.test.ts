/** Damaged, hostile and huge tokenizer files: typed errors in bounded time. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { draftTokenizer } from '../../../src/models/tokenizer/draft.ts';
import { readSentencePieceModel } from '../../../src/models/tokenizer/sentencepiece-model.ts';
import { parseTokenizerJson, readTokenizerFiles } from '../../../src/models/tokenizer/tokenizer-files.ts';
import { AppError } from '../../../src/core/errors.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';

const folder = await temporaryFolder();
let number = 0;

async function read(
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<Awaited<ReturnType<typeof failure>>> {
  const place = join(folder, String(++number));
  await mkdir(place);
  for (const [name, content] of Object.entries(files)) await writeFile(join(place, name), content);
  return failure(readTokenizerFiles(place));
}

function parse(file: Record<string, unknown>): string {
  try {
    parseTokenizerJson(file, 'tokenizer.json');
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'accepted';
}

const bpe = (model: object, rest: object = {}): Record<string, unknown> => ({
  model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'], ...model },
  ...rest,
});
const added = (token: object): Record<string, unknown> =>
  bpe({}, { added_tokens: [{ id: 3, content: '<x>', special: true, ...token }] });

it('a whole file is accepted', () => {
  expect([parse(bpe({})), parse(added({}))]).toEqual(['accepted', 'accepted']);
});

describe('tokenizer.json', () => {
  it.each([
    ['no model', {}, 'model-invalid: tokenizer.json: model: an object was expected here.'],
    [
      'another model',
      { model: { type: 'WordPiece', vocab: {} } },
      'model-unsupported: tokenizer.json: the tokenizer model WordPiece is not supported; BPE and Unigram are.',
    ],
    [
      'a vocabulary that is a list',
      bpe({ vocab: [] }),
      'model-invalid: tokenizer.json: model.vocab: an object was expected here.',
    ],
    ['an id that is a text', bpe({ vocab: { a: '0' } }), 'model-invalid: tokenizer.json: the token "a" has the id 0.'],
    ['an id below zero', bpe({ vocab: { a: -1 } }), 'model-invalid: tokenizer.json: the token "a" has the id -1.'],
    [
      'an id of 2^63',
      bpe({ vocab: { a: 2 ** 63 } }),
      'model-invalid: tokenizer.json: the token "a" has the id 9223372036854776000.',
    ],
    ['merges that are an object', bpe({ merges: {} }), 'model-invalid: tokenizer.json: model.merges must be a list.'],
    ['a merge of three', bpe({ merges: ['a b c'] }), 'model-invalid: tokenizer.json: merge 0 is not a pair of tokens.'],
    [
      'two spellings of merges',
      bpe({ merges: [['a', 'b'], 'a b'] }),
      'model-invalid: tokenizer.json: merge 1 is not a pair of tokens.',
    ],
    [
      'half a character',
      bpe({ vocab: { '\ud800': 0 } }),
      String.raw`model-invalid: tokenizer.json: the token "\ud800" is not valid text.`,
    ],
    [
      'a token of 20,000 characters',
      bpe({ vocab: { ['x'.repeat(20_000)]: 0 } }),
      'model-invalid: tokenizer.json: a token has 20000 characters, more than the 16384 that are allowed.',
    ],
    [
      'an added token without text',
      added({ content: 5 }),
      'model-invalid: tokenizer.json: added_tokens[0] has no content.',
    ],
    [
      'an added token with two ids',
      added({ content: 'ab' }),
      'model-invalid: tokenizer.json: the added token ab has id 3, in the vocabulary it has 2.',
    ],
    [
      'a normaliser that is a list',
      bpe({}, { normalizer: [] }),
      'model-invalid: tokenizer.json: normalizer: an object was expected here.',
    ],
    [
      'two tokens with one id',
      bpe({ vocab: { a: 0, b: 0, ab: 2 } }),
      'model-invalid: tokenizer.json: "a" and "b" have the same id, 0.',
    ],
    [
      'a merge of what is no token',
      bpe({ merges: ['a c'] }),
      'model-invalid: tokenizer.json: merge 0 needs "c", which is no token.',
    ],
    [
      'a merge into what is no token',
      bpe({ merges: ['b a'] }),
      'model-invalid: tokenizer.json: merge 0 needs "ba", which is no token.',
    ],
    [
      'a score of 1e999',
      { model: { type: 'Unigram', vocab: [['a', JSON.parse('1e999')]] } },
      'model-invalid: tokenizer.json: model.vocab[0] is not a text with a score.',
    ],
    [
      'a Unigram piece without score',
      { model: { type: 'Unigram', vocab: [['a']] } },
      'model-invalid: tokenizer.json: model.vocab[0] is not a text with a score.',
    ],
  ])('%s', (_, file, message) => {
    expect(parse(file)).toBe(message);
  });

  it('a merge leaves the prefix of its right part out', () => {
    const vocab = { a: 0, '##b': 1, ab: 2 };
    expect(parse(bpe({ vocab, merges: ['a ##b'], continuing_subword_prefix: '##' }))).toBe('accepted');
  });

  it('a folder in place of a file', async () => {
    const place = join(folder, 'folder');
    await mkdir(join(place, 'tokenizer.json'), { recursive: true });
    expect((await failure(readTokenizerFiles(place))).message).toContain('tokenizer.json: it is not a file');
  });

  it.each([
    ['strips nothing for ever', { type: 'Strip', content: '', start: 1e300, stop: 1e300 }, null],
    [
      'doubles without end',
      {
        type: 'Sequence',
        decoders: Array.from({ length: 60 }, () => ({ type: 'Replace', pattern: { String: 'x' }, content: 'xx' })),
      },
      'its decoder makes endless text of a token',
    ],
  ])('a decoder that %s', async (_, decoder, message) => {
    const place = join(folder, String(++number));
    await mkdir(place);
    await writeFile(join(place, 'tokenizer.json'), JSON.stringify({ ...added({}), decoder }));
    const startedMs = performance.now();
    const draft = (async () => draftTokenizer(await readTokenizerFiles(place), null).tokens)();
    if (message === null) expect(await draft).toEqual(['a', 'b', 'ab', '<x>']);
    else expect((await failure(draft)).message).toContain(message);
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });

  it.each([524_289, 2 ** 40])('a model that claims %d rows', async (rows) => {
    const place = join(folder, String(++number));
    await mkdir(place);
    await writeFile(join(place, 'tokenizer.json'), JSON.stringify(bpe({})));
    await writeFile(join(place, 'config.json'), JSON.stringify({ vocab_size: rows }));
    const files = await readTokenizerFiles(place);
    expect(() => draftTokenizer(files, null)).toThrow(`the model claims ${rows} rows for tokens`);
  });

  it('100,000 levels of sequences', () => {
    let normalizer: object = { type: 'NFC' };
    for (let i = 0; i < 100_000; i++) normalizer = { type: 'Sequence', normalizers: [normalizer] };
    expect(parse(bpe({}, { normalizer }))).toBe(
      'model-invalid: tokenizer.json: it nests deeper than the 32 levels that are allowed.',
    );
  });

  it('3,000,000 merges are refused before they are looked at', () => {
    const startedMs = performance.now();
    expect(parse(bpe({ merges: Array.from({ length: 3_000_000 }, () => 'a b') }))).toContain(
      'it has 3000000 merges, more than the 2000000',
    );
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  it('bytes that are no text, text that is no JSON, JSON that is no object', async () => {
    const messages = [
      await read({ 'tokenizer.json': new Uint8Array([0x7b, 0xff, 0x7d]) }),
      await read({ 'tokenizer.json': '{"model": ' }),
      await read({ 'tokenizer.json': '[1]' }),
      await read({ 'tokenizer.json': JSON.stringify(bpe({})), 'tokenizer_config.json': 'x' }),
    ].map(({ code, message }) => `${code}: ${message.replaceAll(/.*\/\d+\//g, '')}`);
    expect(messages).toEqual([
      'model-invalid: tokenizer.json: it is not UTF-8.',
      'model-invalid: tokenizer.json: it is not JSON.',
      'model-invalid: tokenizer.json: an object was expected here.',
      'model-invalid: tokenizer_config.json: it is not JSON.',
    ]);
  });

  it('a folder without tokenizer', async () => {
    expect(await read({ 'config.json': '{}' })).toMatchObject({ code: 'model-not-found' });
  });

  it('a token called __proto__ is a token', () => {
    const file = JSON.parse('{"model":{"type":"BPE","vocab":{"__proto__":0},"merges":[]}}') as Record<string, unknown>;
    expect([...parseTokenizerJson(file, 'x').vocabulary]).toEqual([['__proto__', 0]]);
  });

  it('any JSON gives a typed error or is accepted', () => {
    fc.assert(
      fc.property(
        fc.record({
          model: fc.oneof(
            fc.jsonValue(),
            fc.record({ type: fc.constantFrom('BPE', 'Unigram'), vocab: fc.jsonValue(), merges: fc.jsonValue() }),
          ),
          added_tokens: fc.jsonValue(),
          normalizer: fc.jsonValue(),
        }),
        (file) => {
          expect(parse(file)).toMatch(/^(accepted|model-(invalid|unsupported): )/);
        },
      ),
      { numRuns: 500, seed: 5 },
    );
  });
});

describe('tokenizer.model', async () => {
  const whole = await readFile(fixturePath('tokenizers/sentencepiece/tokenizer.model'));

  it('is read whole', () => {
    const model = readSentencePieceModel(whole, 'tokenizer.model');
    expect([model.pieces.length, model.modelType, model.addDummyPrefix, model.pieces[0]]).toEqual([
      520,
      'bpe',
      true,
      { text: '<unk>', score: 0, type: 2 },
    ]);
  });

  it('cut anywhere it is an error or a shorter whole, never a crash', () => {
    for (let length = 0; length < whole.length; length += 37) {
      try {
        readSentencePieceModel(whole.subarray(0, length), 'x');
      } catch (error) {
        expect(error).toBeInstanceOf(AppError);
      }
    }
  });

  it('2,000 changed files are typed errors or are read, in bounded time', () => {
    const startedMs = performance.now();
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        (changes) => {
          const bytes = Uint8Array.from(whole);
          for (const [at, value] of changes) bytes[at] = value;
          try {
            readSentencePieceModel(bytes, 'x');
          } catch (error) {
            expect(error).toBeInstanceOf(AppError);
          }
        },
      ),
      { numRuns: 2_000, seed: 7 },
    );
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  });

  it.each([
    ['a length beyond the end', [0x0a, 0xff, 0x01, 0x00], 'a field of 255 bytes begins 1 bytes before the end'],
    ['a number without end', Array.from({ length: 12 }, () => 0xff), 'it holds a number of more than ten bytes'],
    ['an unknown wire type', [0x0b], 'it holds a field of the unknown wire type 3'],
    ['nothing', [], 'it is no SentencePiece model'],
  ])('%s', (_, bytes, message) => {
    expect(() => readSentencePieceModel(Uint8Array.from(bytes), 'x')).toThrow(message);
  });
});
