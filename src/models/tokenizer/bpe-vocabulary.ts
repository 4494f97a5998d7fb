/** Tokens, types and merges of a byte-level BPE as GGUF's `gpt2` tokenizer holds them. */
import { AppError } from '../../core/errors.ts';
import { TOKEN_TYPE } from '../gguf/vocabulary.ts';
import { addedVocabulary } from './added-vocabulary.ts';
import { byteLevelBytes } from './byte-level.ts';
import { invalidFile, isRecord, recordsIn, textIn, type JsonRecord } from './json-values.ts';
import type { TokenizerFiles, TokenizerJsonFile } from './tokenizer-files.ts';

export interface BpeVocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** `left right`, spaces inside a part as Ġ. */
  readonly merges: readonly string[];
}

/** `vocabularySize`: rows of the embedding; ids that the tokenizer does not know become [PADn]. */
export function bpeVocabulary(
  files: TokenizerFiles,
  { tokenizer, vocabularySize }: { tokenizer: TokenizerJsonFile; vocabularySize: number | null },
): BpeVocabulary {
  const added = addedVocabulary(files, tokenizer);
  const byId = new Map<number, string>();
  for (const [token, id] of tokenizer.vocabulary) if (!isPadding(token, id)) byId.set(id, token);
  for (const { id, content } of added.values()) byId.set(id, content);
  const size = vocabularySize ?? new Set([...tokenizer.vocabulary.keys(), ...added.keys()]).size;
  assertFits(byId, { size, folder: files.folder });
  const tokens: string[] = [];
  const types: number[] = [];
  const decode = tokenDecoder(tokenizer.decoder, files.folder);
  for (let id = 0; id < size; id++) {
    const text = byId.get(id);
    const entry = text === undefined ? undefined : added.get(text);
    if (text === undefined) {
      tokens.push(`[PAD${id}]`);
      types.push(TOKEN_TYPE.unused);
    } else if (entry === undefined) {
      tokens.push(text);
      types.push(TOKEN_TYPE.normal);
    } else {
      // llama.cpp compares added tokens with the text as it was typed: what the file spells otherwise is decoded first.
      const shown = entry.normalized ? text : decode(text);
      const control = entry.special || looksSpecial(shown);
      tokens.push(control ? shown : shown.replaceAll('▁', ' '));
      types.push(control ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined);
    }
  }
  return {
    tokens,
    types,
    merges: Array.from(tokenizer.merges, ([left, right]) => `${visible(left)} ${visible(right)}`),
  };
}

/** A row without a token, in a tokenizer.json that was rebuilt from a GGUF. */
export function isPadding(token: string, id: number): boolean {
  return token === `[PAD${id}]`;
}

/** The separator of a merge is a space, so one inside a part is written as byte-level BPE writes it. */
function visible(part: string): string {
  return part.replaceAll(' ', 'Ġ');
}

function assertFits(byId: ReadonlyMap<number, string>, { size, folder }: { size: number; folder: string }): void {
  for (const [id, token] of byId) {
    if (id < size) continue;
    throw new AppError(
      'model-invalid',
      `${folder}: the token ${JSON.stringify(token.slice(0, 80))} has id ${id}, but the model has only ${size} rows (vocab_size in config.json).`,
      {
        hint: 'The tokenizer and the model do not belong together: download both again from one place.',
        context: { id, size },
      },
    );
  }
}

/** Tokens that control the model although the file does not mark them as special (the reference's list). */
export function looksSpecial(token: string): boolean {
  return (
    ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(token) ||
    (token.startsWith('<|') && token.endsWith('|>')) ||
    (token.startsWith('<｜') && token.endsWith('｜>')) ||
    (token.startsWith('<unused') && token.endsWith('>'))
  );
}

/** As long as a token may be at all. */
const DECODED_CHARACTERS_MAX = 16_384;

/** What the decoder makes of one token that stands alone. */
function tokenDecoder(decoder: JsonRecord | null, path: string): (token: string) => string {
  const steps = decoder?.['type'] === 'Sequence' ? recordsIn(decoder, 'decoders') : decoder === null ? [] : [decoder];
  return (token) =>
    steps.reduce((text, step) => {
      const decoded = decodeStep(text, step);
      // A sequence of steps that each double a text has no end.
      if (decoded.length > DECODED_CHARACTERS_MAX) throw invalidFile(path, 'its decoder makes endless text of a token');
      return decoded;
    }, token);
}

function decodeStep(text: string, step: JsonRecord): string {
  switch (step['type']) {
    case 'ByteLevel':
      return byteLevelBytes(text)?.toString('utf8') ?? text;
    case 'Replace': {
      const pattern = isRecord(step['pattern']) ? textIn(step['pattern'], 'String') : null;
      const content = textIn(step, 'content');
      return pattern === null || pattern === '' || content === null ? text : text.replaceAll(pattern, content);
    }
    case 'ByteFallback': {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
      return byte === undefined ? text : Buffer.from(byte, 'hex').toString('utf8');
    }
    case 'Strip':
      return stripped(text, step);
    default:
      return text;
  }
}

function stripped(text: string, step: JsonRecord): string {
  const content = textIn(step, 'content') ?? ' ';
  // Nothing can be taken off any number of times.
  if (content === '') return text;
  const count = (key: string): number => (typeof step[key] === 'number' ? step[key] : 0);
  let out = text;
  for (let i = 0; i < count('start') && out.startsWith(content); i++) out = out.slice(content.length);
  for (let i = 0; i < count('stop') && out.endsWith(content); i++) out = out.slice(0, -content.length);
  return out;
}
