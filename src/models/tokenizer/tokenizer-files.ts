/** Hugging Face's tokenizer files of one folder. They are untrusted: sizes, types, depth and text are checked here, once. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';
import { assertNesting, asRecord, booleanIn, invalidFile, textIn, type JsonRecord } from './json-values.ts';
import { readBpeVocabulary, readMerges } from './read-bpe-model.ts';
import { checkedId, checkedToken, TOKEN_COUNT_MAX } from './token-checks.ts';
import type { Counted } from './token-lists.ts';
import { withTokenizerDocument, type TokenizerDocument } from './tokenizer-document.ts';

/** Gemma 3's tokenizer.json, the largest in use, has 33 MB. */
const TOKENIZER_BYTES_MAX = 96 << 20;
/** Llama 3 has 256 added tokens, Gemma 3 6,415. */
const ADDED_COUNT_MAX = 100_000;
/** tokenizer_config.json repeats the added tokens with their flags; Gemma 3's has 1.2 MB. */
const CONFIG_BYTES_MAX = 32 << 20;
/** The longest chat templates in use have about 100 KB. */
const TEMPLATE_BYTES_MAX = 4 << 20;
/** Named templates beside the default one; Command R has three. */
const TEMPLATE_COUNT_MAX = 64;

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Compared with the text after the normaliser; false: with the text as it was typed. */
  readonly normalized: boolean;
}

/** A BPE or Unigram tokenizer.json. */
export interface TokenizerJsonFile {
  readonly type: 'BPE' | 'Unigram';
  /** Token to id; for Unigram in the order of ids. */
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Unigram only, by id. */
  readonly scores: readonly number[] | null;
  readonly merges: Counted<readonly [string, string]>;
  /** Merges stored as pairs may contain spaces; those stored as one text may not. */
  readonly mergesArePairs: boolean;
  readonly ignoreMerges: boolean;
  readonly byteFallback: boolean;
  readonly unknownToken: string | null;
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: JsonRecord | null;
  readonly preTokenizer: JsonRecord | null;
  readonly postProcessor: JsonRecord | null;
  readonly decoder: JsonRecord | null;
  /** added_tokens as parsed, with flags that only the proof looks at. */
  readonly raw: JsonRecord;
}

/** A tokenizer.json without what is large in it. Plain data. */
export type TokenizerRules = Omit<TokenizerJsonFile, 'vocabulary' | 'scores' | 'merges' | 'raw'>;

/** What is needed to choose a pre-tokenizer. Plain data. */
export interface TokenizerSummary {
  readonly folder: string;
  readonly tokenizerJson: TokenizerRules | null;
  readonly tokenizerConfig: JsonRecord | null;
}

export interface TokenizerFiles extends TokenizerSummary {
  readonly tokenizerJson: TokenizerJsonFile | null;
  /** Bytes of tokenizer.model. */
  readonly sentencePiece: Uint8Array | null;
  readonly config: JsonRecord | null;
  /** added_tokens.json: text to id. */
  readonly addedTokensJson: ReadonlyMap<string, number> | null;
  readonly specialTokensMap: JsonRecord | null;
  /** chat_template.jinja with its named companions, or chat_template.json; null where there is neither. */
  readonly templateFiles: string | readonly NamedTemplate[] | null;
}

export interface NamedTemplate {
  readonly name: string;
  readonly template: string;
}

/**
 * @throws AppError `model-not-found` where the folder holds neither tokenizer.json nor tokenizer.model, `model-invalid` for
 * files that are damaged or beyond the limits, `model-unsupported` for other tokenizer models
 */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const json = async (name: string, bytesMax: number): Promise<JsonRecord | null> =>
    readJson(join(folder, name), bytesMax);
  const tokenizerPath = join(folder, 'tokenizer.json');
  const tokenizer = (await isReadable(tokenizerPath, TOKENIZER_BYTES_MAX))
    ? withTokenizerDocument(tokenizerPath, (document) => parseDocument(document, tokenizerPath))
    : null;
  const sentencePiece = await readBytes(join(folder, 'tokenizer.model'), TOKENIZER_BYTES_MAX);
  if (tokenizer === null && sentencePiece === null) {
    throw new AppError('model-not-found', `${folder} contains neither tokenizer.json nor tokenizer.model.`, {
      hint: "Give a model's folder with its tokenizer files.",
    });
  }
  return {
    folder,
    tokenizerJson: tokenizer,
    sentencePiece,
    tokenizerConfig: nonEmpty(await json('tokenizer_config.json', CONFIG_BYTES_MAX)),
    config: await json('config.json', CONFIG_BYTES_MAX),
    addedTokensJson: readAddedIds(await json('added_tokens.json', CONFIG_BYTES_MAX), join(folder, 'added_tokens.json')),
    specialTokensMap: await json('special_tokens_map.json', CONFIG_BYTES_MAX),
    templateFiles: await readTemplates(folder),
  };
}

/** `{}` says as much as no file. */
function nonEmpty(record: JsonRecord | null): JsonRecord | null {
  return record === null || Object.keys(record).length === 0 ? null : record;
}

/** @throws AppError `model-invalid` or `model-unsupported` */
export function parseTokenizerJson(raw: JsonRecord, path: string): TokenizerJsonFile {
  return parseDocument({ rest: raw, vocabulary: null, merges: null }, path);
}

function parseDocument({ rest: raw, ...large }: TokenizerDocument, path: string): TokenizerJsonFile {
  assertNesting(raw, path);
  const model = asRecord(raw['model'], `${path}: model`);
  const type = modelType(model, path);
  const { vocabulary, scores } = type === 'BPE' ? readBpeVocabulary(model, large, path) : readUnigram(model, path);
  const { merges, arePairs } =
    type === 'BPE' ? readMerges(model, large, { vocabulary, path }) : { merges: [], arePairs: false };
  const part = (name: string): JsonRecord | null =>
    raw[name] === null || raw[name] === undefined ? null : asRecord(raw[name], `${path}: ${name}`);
  const unknownId = model['unk_id'];
  const unknownOfUnigram = typeof unknownId === 'number' ? ([...vocabulary.keys()][unknownId] ?? null) : null;
  return {
    type,
    vocabulary,
    scores,
    merges,
    mergesArePairs: arePairs,
    ignoreMerges: booleanIn(model, 'ignore_merges') ?? false,
    byteFallback: booleanIn(model, 'byte_fallback') ?? false,
    unknownToken: type === 'Unigram' ? unknownOfUnigram : textIn(model, 'unk_token'),
    addedTokens: readAddedTokens(raw['added_tokens'], { path, vocabulary }),
    normalizer: part('normalizer'),
    preTokenizer: part('pre_tokenizer'),
    postProcessor: part('post_processor'),
    decoder: part('decoder'),
    raw: { added_tokens: raw['added_tokens'] },
  };
}

/** Old files leave the type out: merges mean BPE, a list of pairs means Unigram. */
function modelType(model: JsonRecord, path: string): 'BPE' | 'Unigram' {
  const type =
    model['type'] ?? (Array.isArray(model['vocab']) ? 'Unigram' : model['merges'] === undefined ? null : 'BPE');
  if (type === 'BPE' || type === 'Unigram') return type;
  throw new AppError(
    'model-unsupported',
    `${path}: the tokenizer model ${typeof type === 'string' ? type.slice(0, 40) : '(no name)'} is not supported; BPE and Unigram are.`,
    {
      hint: 'Use a model with one of these tokenizers, or the reference converter.',
    },
  );
}

function readUnigram(model: JsonRecord, path: string): { vocabulary: Map<string, number>; scores: number[] } {
  const items = model['vocab'];
  if (!Array.isArray(items)) throw invalidFile(path, 'model.vocab of a Unigram model must be a list');
  if (items.length > TOKEN_COUNT_MAX)
    throw invalidFile(path, `it has ${items.length} tokens, more than the ${TOKEN_COUNT_MAX} that are allowed`);
  const vocabulary = new Map<string, number>();
  const scores: number[] = [];
  for (const [id, item] of items.entries()) {
    const [token, score] = Array.isArray(item) ? (item as unknown[]) : [];
    if (typeof token !== 'string' || typeof score !== 'number' || !Number.isFinite(score))
      throw invalidFile(path, `model.vocab[${id}] is not a text with a score`);
    if (!vocabulary.has(checkedToken(token, path))) vocabulary.set(token, id);
    scores.push(score);
  }
  return { vocabulary, scores };
}

function readAddedTokens(
  value: unknown,
  { path, vocabulary }: { path: string; vocabulary: ReadonlyMap<string, number> },
): AddedToken[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalidFile(path, 'added_tokens must be a list');
  if (value.length > ADDED_COUNT_MAX)
    throw invalidFile(path, `it has ${value.length} added tokens, more than the ${ADDED_COUNT_MAX} that are allowed`);
  return value.map((item: unknown, i) => {
    const entry = asRecord(item, `${path}: added_tokens[${i}]`);
    const content = entry['content'];
    if (typeof content !== 'string') throw invalidFile(path, `added_tokens[${i}] has no content`);
    const id = checkedId(entry['id'], path, content);
    const known = vocabulary.get(checkedToken(content, path));
    // The Rust library goes by the vocabulary, the JavaScript one by this number: the file means two things.
    if (known !== undefined && known !== id)
      throw invalidFile(path, `the added token ${content} has id ${id}, in the vocabulary it has ${known}`);
    const special = booleanIn(entry, 'special') ?? false;
    return { id, content, special, normalized: booleanIn(entry, 'normalized') ?? !special };
  });
}

function readAddedIds(value: JsonRecord | null, path: string): ReadonlyMap<string, number> | null {
  if (value === null) return null;
  const entries = Object.entries(value);
  if (entries.length > ADDED_COUNT_MAX)
    throw invalidFile(path, `it has ${entries.length} tokens, more than the ${ADDED_COUNT_MAX} that are allowed`);
  return new Map(entries.map(([token, id]) => [checkedToken(token, path), checkedId(id, path, token)]));
}

async function readTemplates(folder: string): Promise<TokenizerFiles['templateFiles']> {
  const main = await readText(join(folder, 'chat_template.jinja'), TEMPLATE_BYTES_MAX);
  if (main !== null) {
    const others = await namedTemplates(join(folder, 'additional_chat_templates'));
    return others.length === 0 ? main : [{ name: 'default', template: main }, ...others];
  }
  const path = join(folder, 'chat_template.json');
  const wrapped = (await readJson(path, TEMPLATE_BYTES_MAX))?.['chat_template'];
  return typeof wrapped === 'string' ? wrapped : null;
}

async function namedTemplates(folder: string): Promise<NamedTemplate[]> {
  const all = await readdir(folder).catch((): string[] => []);
  const names = all.filter((name) => name.endsWith('.jinja')).toSorted();
  if (names.length > TEMPLATE_COUNT_MAX)
    throw invalidFile(folder, `it has ${names.length} templates, more than the ${TEMPLATE_COUNT_MAX} that are allowed`);
  const templates: NamedTemplate[] = [];
  for (const name of names) {
    const template = await readText(join(folder, name), TEMPLATE_BYTES_MAX);
    if (template !== null) templates.push({ name: name.slice(0, -'.jinja'.length), template });
  }
  return templates;
}

async function readJson(path: string, bytesMax: number): Promise<JsonRecord | null> {
  const text = await readText(path, bytesMax);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidFile(path, 'it is not JSON', cause);
  }
  return asRecord(value, path);
}

async function readText(path: string, bytesMax: number): Promise<string | null> {
  const bytes = await readBytes(path, bytesMax);
  if (bytes === null) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalidFile(path, 'it is not UTF-8', cause);
  }
}

/** Null for a file that does not exist. */
async function readBytes(path: string, bytesMax: number): Promise<Uint8Array | null> {
  if (!(await isReadable(path, bytesMax))) return null;
  return readFile(path).catch((cause: unknown) => {
    throw cannotOpen(`file ${path}`, cause);
  });
}

/** False for a file that does not exist. Kind and size are checked before it is opened: a pipe would wait for its writer. */
async function isReadable(path: string, bytesMax: number): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  if (info === null) return false;
  if (!info.isFile()) throw invalidFile(path, 'it is not a file');
  if (info.size > bytesMax)
    throw invalidFile(path, `it has ${info.size} bytes, more than the ${bytesMax} that are allowed`);
  return true;
}
