/**
 * Reader of tokenizer.model: a protobuf message of SentencePiece (ModelProto: 1 pieces, 2 trainer_spec, 3 normalizer_spec).
 * Only what GGUF holds is read. Untrusted: every length is checked against what is left.
 */
import { invalidFile } from './json-values.ts';

/** As for tokenizer.json. */
const PIECE_COUNT_MAX = 1 << 19;
const PIECE_BYTES_MAX = 65_536;

/** SentencePiece's own numbers, which GGUF's token types repeat. */
export const PIECE_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Piece {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  readonly modelType: 'unigram' | 'bpe' | 'word' | 'char';
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
  /** Empty: no normalisation rules. */
  readonly precompiledCharsMap: Uint8Array;
}

const MODEL_TYPES = ['unigram', 'bpe', 'word', 'char'] as const;

/** @throws AppError `model-invalid` */
export function readSentencePieceModel(bytes: Uint8Array, path: string): SentencePieceModel {
  const pieces: Piece[] = [];
  let trainer = 1;
  let normalizer = {
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    escapeWhitespaces: true,
    precompiledCharsMap: new Uint8Array(0),
  };
  for (const field of fields(bytes, path)) {
    if (field.number === 1 && field.bytes !== null) {
      if (pieces.length === PIECE_COUNT_MAX)
        throw invalidFile(path, `it has more than the ${PIECE_COUNT_MAX} pieces that are allowed`);
      pieces.push(readPiece(field.bytes, path));
    } else if (field.number === 2 && field.bytes !== null) trainer = readModelType(field.bytes, path);
    else if (field.number === 3 && field.bytes !== null) normalizer = readNormalizer(field.bytes, path);
  }
  const modelType = MODEL_TYPES[trainer - 1];
  if (pieces.length === 0 || modelType === undefined) throw invalidFile(path, 'it is no SentencePiece model');
  return { pieces, modelType, ...normalizer };
}

function readPiece(bytes: Uint8Array, path: string): Piece {
  let text: string | null = null;
  let score = 0;
  let type: number = PIECE_TYPE.normal;
  for (const field of fields(bytes, path)) {
    if (field.number === 1 && field.bytes !== null) text = utf8(field.bytes, path);
    else if (field.number === 2 && field.fixed32 !== null) score = field.fixed32;
    else if (field.number === 3 && field.varint !== null) type = field.varint;
  }
  if (text === null || type < 1 || type > 6 || !Number.isFinite(score))
    throw invalidFile(path, 'it holds a piece without text, with an unknown type or with a score that is no number');
  return { text, score, type };
}

function readModelType(bytes: Uint8Array, path: string): number {
  let type = 1;
  for (const field of fields(bytes, path)) if (field.number === 3 && field.varint !== null) type = field.varint;
  return type;
}

function readNormalizer(
  bytes: Uint8Array,
  path: string,
): Omit<SentencePieceModel, 'pieces' | 'modelType'> & { precompiledCharsMap: Uint8Array<ArrayBuffer> } {
  const flags = { 3: true, 4: true, 5: true };
  let map = new Uint8Array(0);
  for (const field of fields(bytes, path)) {
    if (field.number === 2 && field.bytes !== null) map = new Uint8Array(field.bytes);
    else if ((field.number === 3 || field.number === 4 || field.number === 5) && field.varint !== null)
      flags[field.number] = field.varint !== 0;
  }
  return {
    addDummyPrefix: flags[3],
    removeExtraWhitespaces: flags[4],
    escapeWhitespaces: flags[5],
    precompiledCharsMap: map,
  };
}

function utf8(bytes: Uint8Array, path: string): string {
  if (bytes.length > PIECE_BYTES_MAX) throw invalidFile(path, `it holds a piece of ${bytes.length} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw invalidFile(path, 'it holds a piece that is not UTF-8', cause);
  }
}

interface Field {
  readonly number: number;
  readonly varint: number | null;
  readonly fixed32: number | null;
  readonly bytes: Uint8Array | null;
}

/** Protobuf's wire format: a key (number * 8 + type), then a varint (0), 8 bytes (1), a length and bytes (2) or 4 bytes (5). */
function* fields(bytes: Uint8Array, path: string): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw invalidFile(path, 'it ends in the middle of a number');
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw invalidFile(path, 'it holds a number of more than ten bytes');
  };
  const take = (length: number): number => {
    if (length > bytes.length - at)
      throw invalidFile(path, `a field of ${length} bytes begins ${bytes.length - at} bytes before the end`);
    at += length;
    return at - length;
  };
  while (at < bytes.length) {
    const key = varint();
    const number = Math.floor(key / 8);
    const none = { varint: null, fixed32: null, bytes: null };
    switch (key % 8) {
      case 0:
        yield { ...none, number, varint: varint() };
        break;
      case 1:
        take(8);
        yield { ...none, number };
        break;
      case 2: {
        const length = varint();
        const start = take(length);
        yield { ...none, number, bytes: bytes.subarray(start, start + length) };
        break;
      }
      case 5:
        yield { ...none, number, fixed32: view.getFloat32(take(4), true) };
        break;
      default:
        throw invalidFile(path, `it holds a field of the unknown wire type ${key % 8}`);
    }
  }
}
