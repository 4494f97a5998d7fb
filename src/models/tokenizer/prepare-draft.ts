/**
 * A tokenizer's files as key-values and as texts for the proof, made in a process of its own. The vocabulary and the merges
 * of a large tokenizer take hundreds of megabytes as objects; here they stay in files, as the bytes that are written.
 */
import { readFileSync } from 'node:fs';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import { readFully, writeFully } from '../file-io.ts';
import type { EncodedArray, GgufValue, WritableMetadata } from '../gguf/metadata.ts';
import { encodeMetadata, GGUF_ALIGNMENT, layoutGguf } from '../gguf/write.ts';
import type { TokenTexts } from './compare-tokens.ts';
import type { TokenizerDraft } from './draft.ts';
import { runWorker, type WorkerLimits } from './run-worker.ts';
import type { StressText } from './stress-corpus.ts';
import { storedJsonLines, type Stored } from './token-lists.ts';
import type { TokenizerSummary } from './tokenizer-files.ts';

export interface PreparedDraft {
  readonly kind: TokenizerDraft['kind'];
  readonly tokenCount: number;
  readonly tokens: TokenTexts;
  /** Reads the arrays into memory: for what is written next. */
  metadata(preTokenizer: string): Promise<WritableMetadata>;
  /** A GGUF of the vocabulary alone in the scratch folder. @returns its path */
  writeVocabulary(preTokenizer: string): Promise<string>;
}

export interface Prepared {
  readonly files: TokenizerSummary;
  readonly draft: PreparedDraft;
  readonly proofTexts: Stored<StressText>;
}

/** No tokenizer has values of 64 bits, which JSON does not hold. */
type DraftScalar = Exclude<GgufValue, { type: 'array' } | { value: bigint }>;

/** Where an array lies in the file of arrays. */
interface StoredArray {
  readonly type: 'encoded';
  readonly at: readonly [start: number, end: number];
}

/** What the worker writes: this as JSON, the arrays one behind the other in a file beside it, and the texts in another. */
export interface DraftAnswer {
  readonly files: TokenizerSummary;
  readonly kind: TokenizerDraft['kind'];
  readonly tokenCount: number;
  readonly entries: readonly (readonly [key: string, value: DraftScalar | StoredArray])[];
  readonly proofTextCount: number;
}

export const ANSWER_FILE = 'draft.json';
export const ARRAYS_FILE = 'arrays.bin';
export const PROOF_TEXTS_FILE = 'proof-texts.jsonl';
const VOCABULARY_FILE = 'vocabulary.gguf';
/** Of an array that is copied. */
const COPY_BYTES = 256 << 10;

/** What the worker says on its line. */
export interface DraftLine {
  readonly number: 0;
  readonly failed?: { readonly code: ErrorCode; readonly message: string; readonly hint: string | null };
}

const PRE_TOKENIZER = 'tokenizer.ggml.pre';

/**
 * @param scratch folder in which what is drafted stays
 * @throws AppError what `readTokenizerFiles` and `draftTokenizer` throw
 */
export async function prepareDraft(
  folder: string,
  {
    vocabularySize,
    scratch,
    signal,
    timeoutMs,
  }: { readonly vocabularySize: number | null; readonly scratch: string } & WorkerLimits,
): Promise<Prepared> {
  const args = [scratch, folder, vocabularySize === null ? '' : String(vocabularySize)];
  const title = "Reading the tokenizer's files";
  const lines = await runWorker({ worker: 'draft', title, textCount: 0, args, signal, timeoutMs });
  const [line] = lines as readonly DraftLine[];
  if (line?.failed !== undefined) {
    const { code, message, hint } = line.failed;
    throw new AppError(code, message, hint === null ? {} : { hint });
  }
  const answer = JSON.parse(await readFile(join(scratch, ANSWER_FILE), 'utf8')) as DraftAnswer;
  const proofTexts = storedJsonLines<StressText>(join(scratch, PROOF_TEXTS_FILE), answer.proofTextCount);
  return { files: answer.files, proofTexts, draft: draftOf(answer, scratch) };
}

function draftOf({ kind, tokenCount, entries }: DraftAnswer, scratch: string): PreparedDraft {
  const arraysPath = join(scratch, ARRAYS_FILE);
  // An entry that is set again keeps its place.
  const named = (preTokenizer: string): Map<string, DraftScalar | StoredArray> =>
    new Map(entries).set(PRE_TOKENIZER, { type: 'string', value: preTokenizer });
  const tokens = new Map(entries).get('tokenizer.ggml.tokens');
  let arrays: Buffer | null = null;
  return {
    kind,
    tokenCount,
    tokens: {
      at(id) {
        if (tokens?.type !== 'encoded') return undefined;
        arrays ??= readFileSync(arraysPath);
        return stringAt(arrays.subarray(...tokens.at), id);
      },
    },
    async metadata(preTokenizer) {
      const bytes = await readFile(arraysPath);
      return new Map(
        [...named(preTokenizer)].map(([key, value]): [string, GgufValue | EncodedArray] => [
          key,
          value.type === 'encoded' ? { type: 'encoded', bytes: bytes.subarray(...value.at) } : value,
        ]),
      );
    },
    writeVocabulary: (preTokenizer) => writeVocabulary(named(preTokenizer), scratch),
  };
}

/** With the arrays copied in pieces: they are most of it. */
async function writeVocabulary(
  values: ReadonlyMap<string, DraftScalar | StoredArray>,
  scratch: string,
): Promise<string> {
  const path = join(scratch, VOCABULARY_FILE);
  const arrays = await open(join(scratch, ARRAYS_FILE));
  try {
    const handle = await open(path, 'w');
    try {
      let at = 0;
      const put = (bytes: Uint8Array): void => {
        writeFully(handle, bytes, at);
        at += bytes.byteLength;
      };
      // Any architecture will do: no tensor is looked at.
      const architecture = encodeMetadata(new Map([['general.architecture', { type: 'string', value: 'llama' }]]));
      const { header } = layoutGguf({ ...architecture, count: architecture.count + values.size }, [], 1);
      put(header);
      for (const [key, value] of values) {
        const isStored = value.type === 'encoded';
        put(encodeMetadata(new Map([[key, isStored ? { ...value, bytes: new Uint8Array(0) } : value]])).bytes);
        if (isStored) copyRange(arrays, value.at, put);
      }
      // The place of the first tensor, were there one.
      put(new Uint8Array(Math.ceil(at / GGUF_ALIGNMENT) * GGUF_ALIGNMENT - at));
    } finally {
      await handle.close();
    }
  } finally {
    await arrays.close();
  }
  return path;
}

function copyRange(
  source: FileHandle,
  [start, end]: readonly [number, number],
  put: (bytes: Uint8Array) => void,
): void {
  const buffer = Buffer.allocUnsafeSlow(COPY_BYTES);
  for (let at = start; at < end; at += buffer.length) {
    const length = Math.min(buffer.length, end - at);
    readFully(source, buffer, { position: at, length });
    put(buffer.subarray(0, length));
  }
}

/** Of an encoded array of texts; steps over those before it, which is fast enough for a message. */
function stringAt(bytes: Uint8Array, index: number): string | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 12;
  for (let i = 0; at < view.length; i++) {
    const length = view.readUInt32LE(at);
    if (i === index) return view.toString('utf8', at + 8, at + 8 + length);
    at += 8 + length;
  }
  return undefined;
}
