/** Damaged tokenizer files: tokenizer.json of three kinds, tokenizer.model, and the small files beside them. */
import { strictEqual } from 'node:assert/strict';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Random } from '../../../src/core/random.ts';
import { draftTokenizer, type TokenizerDraft } from '../../../src/models/tokenizer/draft.ts';
import { readTokenizerFiles, type TokenizerFiles } from '../../../src/models/tokenizer/tokenizer-files.ts';
import { damageBytes, damageJson, pick } from './damage.ts';
import { FOLDER, openFolder } from './replaced-folder.ts';
import type { PrepareReader, Read } from './survive.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/tokenizers/', import.meta.url));
/** A kind each: byte-level BPE with templates, SentencePiece and Unigram in both of their forms. */
const FOLDERS = ['qwen2', 'smollm', 'sentencepiece', 'sentencepiece-json', 'unigram'] as const;
/** What runoff reads of a folder; the large ones more often, since most can go wrong in them. */
const NAMES = [
  'tokenizer.json',
  'tokenizer.json',
  'tokenizer.model',
  'tokenizer_config.json',
  'config.json',
  'added_tokens.json',
];

interface Folder {
  readonly path: string;
  readonly files: ReadonlyMap<string, Buffer>;
  readonly replace: ReturnType<typeof openFolder>;
}

function copied(name: string, root: string): Folder {
  const path = join(root, name);
  cpSync(join(FIXTURES, name), path, { recursive: true });
  const present = [...new Set(NAMES)].filter((file) => existsSync(join(path, file)));
  const files = new Map(present.map((file) => [file, readFileSync(join(path, file))]));
  return { path, files, replace: openFolder(path) };
}

type Vocabulary = Record<string, number> | [string, number][];
interface Raw {
  readonly model: { readonly type?: string; readonly vocab: Vocabulary; readonly merges?: readonly unknown[] };
  readonly added_tokens?: readonly { readonly id: number; readonly content: string }[] | null;
}

/** Every token of tokenizer.json stands at its id, but for ids that another file or list gives to another token. */
function checkJson(draft: TokenizerDraft, files: TokenizerFiles, bytes: Buffer): void {
  const { model, added_tokens: added } = JSON.parse(bytes.toString('utf8')) as Raw;
  const entries = Array.isArray(model.vocab)
    ? model.vocab.map(([token], id): [string, number] => [token, id])
    : Object.entries(model.vocab);
  // The first of two equal texts counts in a list.
  const first = new Map<string, number>();
  for (const [token, id] of entries) if (!first.has(token)) first.set(token, id);
  const others = new Set([...(added ?? []).map(({ id }) => id), ...declaredIds(files)]);
  for (const [token, id] of first) if (!others.has(id)) strictEqual(draft.tokens[id], token);
  const merges = draft.metadata('default').get('tokenizer.ggml.merges');
  if (merges?.type === 'array') strictEqual(merges.items.length, model.merges?.length);
}

/** Tokens that other files add or rename, by id. */
function declaredIds({ tokenizerConfig, addedTokensJson, tokenizerJson }: TokenizerFiles): number[] {
  const declared = Object.entries((tokenizerConfig?.['added_tokens_decoder'] ?? {}) as Record<string, unknown>);
  const texts = new Set(declared.map(([, entry]) => (entry as { content?: unknown } | null)?.content));
  const named = [...(tokenizerJson?.vocabulary ?? [])].filter(([token]) => texts.has(token)).map(([, id]) => id);
  return [...declared.map(([id]) => Number(id)), ...(addedTokensJson?.values() ?? []), ...named];
}

/** The pieces of a tokenizer.model, in order, by protobuf's wire format. */
function pieceTexts(bytes: Buffer): string[] {
  const pieces: string[] = [];
  let at = 0;
  const varint = (): number => {
    let result = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number;
      result += (byte & 127) * 2 ** shift;
      if (byte < 128) return result;
    }
  };
  const skip = (wire: number): void => {
    if (wire === 0) varint();
    else at += wire === 1 ? 8 : 4;
  };
  while (at < bytes.length) {
    const key = varint();
    if (key % 8 !== 2) {
      skip(key % 8);
      continue;
    }
    const length = varint();
    const end = at + length;
    if (Math.floor(key / 8) === 1) {
      let text = '';
      while (at < end) {
        const inner = varint();
        if (inner % 8 !== 2) skip(inner % 8);
        else {
          const size = varint();
          if (Math.floor(inner / 8) === 1) text = bytes.toString('utf8', at, at + size);
          at += size;
        }
      }
      pieces.push(text);
    }
    at = end;
  }
  return pieces;
}

function checkPieces(draft: TokenizerDraft, files: TokenizerFiles, bytes: Buffer): void {
  const others = new Set([...declaredIds(files), ...(files.tokenizerJson?.addedTokens ?? []).map(({ id }) => id)]);
  for (const [id, text] of pieceTexts(bytes).entries())
    if (!others.has(id) && id < draft.tokens.length) strictEqual(draft.tokens[id], text);
}

function damagedFile(name: string, bytes: Buffer, random: Random): Buffer {
  return name.endsWith('.json') ? Buffer.from(damageJson(bytes.toString('utf8'), random)) : damageBytes(bytes, random);
}

export const prepareTokenizers: PrepareReader = async (root) => {
  const folders = FOLDERS.map((name) => copied(name, root));
  return {
    async damage(random) {
      const { path, files, replace } = pick(folders, random);
      const name = pick(
        NAMES.filter((file) => files.has(file)),
        random,
      );
      const damaged = damagedFile(name, files.get(name) as Buffer, random);
      replace({ ...Object.fromEntries(files), [name]: random.integer(200) === 0 ? FOLDER : damaged });
      const now = (file: string): Buffer | undefined => (file === name ? damaged : files.get(file));
      const read: Read = async () => {
        const parsed = await readTokenizerFiles(path);
        const draft = draftTokenizer(parsed, null);
        strictEqual(draft.metadata('default').has('tokenizer.ggml.tokens'), true);
        const [model, json] = [now('tokenizer.model'), now('tokenizer.json')];
        if (model !== undefined) checkPieces(draft, parsed, model);
        else if (json !== undefined) checkJson(draft, parsed, json);
      };
      return [read];
    },
  };
};
