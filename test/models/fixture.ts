/** Fixtures that numpy made (fixtures/make_fixtures.py), and small GGUFs written for one test. */
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { AppError } from '../../src/core/errors.ts';
import type { GgufValue } from '../../src/models/gguf/metadata.ts';
import { tensorTypeNamed } from '../../src/models/gguf/tensor-types.ts';
import { tensorBytes, writeGguf } from '../../src/models/gguf/write.ts';

const FOLDER = new URL('./fixtures/', import.meta.url);

export function fixturePath(name: string): string {
  return fileURLToPath(new URL(name, FOLDER));
}

interface Blocks {
  readonly dequantize: Readonly<Record<string, { readonly bytes: string; readonly values: string }>>;
  readonly quantizeQ4_0: { readonly values: string; readonly bytes: string };
}

export const blocks = JSON.parse(readFileSync(new URL('blocks.json', FOLDER), 'utf8')) as Blocks;

/** What gguf-py reads from blocks with several scales (fixtures/make_ggml_blocks.py). */
export const ggmlBlocks = JSON.parse(readFileSync(new URL('ggml-blocks.json', FOLDER), 'utf8')) as Blocks['dequantize'];

export interface TinyModel {
  readonly fingerprint: string;
  readonly tensors: Readonly<Record<string, string>>;
  readonly mlx: Readonly<Record<'f32' | 'f16', Readonly<Record<string, string>>>>;
}

export const tinyModels = JSON.parse(readFileSync(new URL('tiny-models.json', FOLDER), 'utf8')) as Readonly<
  Record<'llama' | 'qwen2' | 'qwen3', TinyModel>
>;

/** A copy that starts at the beginning of its own memory, as the readers hand it out. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

export function floatsFromBase64(text: string): Float32Array {
  return new Float32Array(fromBase64(text).buffer);
}

/** Largest 127 * d whose zero point 128 * d still fits f16. */
const F16_ZERO_POINT_MAX = 64_000;

/** Those of `ggmlBlocks` whose scale is no damage, as whole rows of 256. */
export function finiteBlocks(type: string): { bytes: Uint8Array; values: Float32Array } {
  const { blockBytes, blockValues } = tensorTypeNamed(type);
  const fixture = ggmlBlocks[type]!;
  const [allBytes, allValues] = [fromBase64(fixture.bytes), floatsFromBase64(fixture.values)];
  const candidates = Array.from({ length: allValues.length / blockValues }, (_, i) => ({
    bytes: allBytes.subarray(i * blockBytes, (i + 1) * blockBytes),
    values: allValues.subarray(i * blockValues, (i + 1) * blockValues),
  })).filter(({ values }) => values.every((value) => Math.abs(value) < F16_ZERO_POINT_MAX));
  const whole = candidates.slice(0, candidates.length - (candidates.length % (256 / blockValues)));
  return {
    bytes: Buffer.concat(whole.map(({ bytes }) => bytes)),
    // -0 is 0: a sum of affine numbers cannot hold it.
    values: Float32Array.from(whole.flatMap(({ values }) => Array.from(values, (value) => value + 0))),
  };
}

/** Bit patterns, with every NaN as one: its payload is nobody's promise. */
export function bitsOf(values: Float32Array): number[] {
  return Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length), (bits) =>
    (bits & 0x7fff_ffff) > 0x7f80_0000 ? 0x7fc0_0000 : bits,
  );
}

const folders: string[] = [];
// Here and not beside each folder: inside a test it is too late to ask for it.
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A folder that goes away with the test file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-models-'));
  folders.push(folder);
  return folder;
}

export async function failure(
  promise: Promise<unknown>,
): Promise<{ code: string; message: string; hint: string | undefined }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
  throw new Error('it succeeded');
}

export interface TensorSpec {
  readonly type: string;
  /** Hugging Face's order. */
  readonly shape: readonly number[];
  /** Zeros when left out. */
  readonly bytes?: Uint8Array;
}

/** A one-layer model with 2 heads of 16 and 1 key-value head; `tensors` replaces or adds, `metadata` too. */
export async function writeModel(
  path: string,
  options: {
    architecture?: string;
    tensors?: Record<string, TensorSpec | null>;
    metadata?: Record<string, GgufValue | null>;
  } = {},
): Promise<void> {
  const architecture = options.architecture ?? 'llama';
  const count = (value: number): GgufValue => ({ type: 'u32', value });
  const metadata: Record<string, GgufValue | null> = {
    'general.architecture': { type: 'string', value: architecture },
    'general.file_type': count(3),
    [`${architecture}.block_count`]: count(1),
    [`${architecture}.context_length`]: count(128),
    [`${architecture}.embedding_length`]: count(32),
    [`${architecture}.feed_forward_length`]: count(64),
    [`${architecture}.attention.head_count`]: count(2),
    [`${architecture}.attention.head_count_kv`]: count(1),
    [`${architecture}.rope.freq_base`]: { type: 'f32', value: 10_000 },
    ...options.metadata,
  };
  const matrix = (rows: number, columns: number): TensorSpec => ({ type: 'Q4_1', shape: [rows, columns] });
  const tensors: Record<string, TensorSpec | null> = {
    'token_embd.weight': matrix(8, 32),
    'output_norm.weight': { type: 'F32', shape: [32] },
    'blk.0.attn_norm.weight': { type: 'F32', shape: [32] },
    'blk.0.ffn_norm.weight': { type: 'F32', shape: [32] },
    'blk.0.attn_q.weight': matrix(32, 32),
    'blk.0.attn_k.weight': matrix(16, 32),
    'blk.0.attn_v.weight': matrix(16, 32),
    'blk.0.attn_output.weight': matrix(32, 32),
    'blk.0.ffn_gate.weight': matrix(64, 32),
    'blk.0.ffn_up.weight': matrix(64, 32),
    'blk.0.ffn_down.weight': matrix(32, 64),
    ...options.tensors,
  };
  await writeGguf(path, {
    metadata: new Map(Object.entries(metadata).filter((entry): entry is [string, GgufValue] => entry[1] !== null)),
    tensors: Object.entries(tensors).flatMap(([name, spec]) => {
      if (spec === null) return [];
      const plan = { name, type: tensorTypeNamed(spec.type), dimensions: spec.shape.toReversed() };
      return [{ ...plan, bytes: spec.bytes ?? new Uint8Array(tensorBytes(plan)) }];
    }),
  });
}

/** A copy of a file with some bytes changed. */
export async function patched(
  source: string,
  target: string,
  patch: (bytes: Buffer) => Buffer | void,
): Promise<string> {
  const bytes = await readFile(source);
  await writeFile(target, patch(bytes) ?? bytes);
  return target;
}
