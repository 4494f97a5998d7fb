/** What the reference made of the tiny models: see oracle/record.py. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';

type Maker = 'converter' | 'quantize';

const schema = z.record(
  z.string(),
  z.object({
    metadata: z.record(z.string(), z.array(z.tuple([z.string(), z.string(), z.unknown()]))),
    tensors: z.record(z.string(), z.array(z.string())),
    types: z.record(z.string(), z.string()),
    hashes: z.record(z.string(), z.string()),
  }),
);

const RECORDED = schema.parse(JSON.parse(readFileSync(join(import.meta.dirname, 'recorded.json'), 'utf8')));

/** Guessed from the folder's name and size by the reference: see docs/CONVERTING.md. */
const GUESSED = new Set(['general.basename', 'general.finetune', 'general.version', 'general.organization']);

export interface Described {
  /** `name shape type hash` */
  readonly tensors: readonly string[];
  /** `key type value`, floats as float32, general.file_type left out. */
  readonly metadata: readonly string[];
  readonly fileType: unknown;
}

export function recorded(model: string, quant: string): Described {
  const entry = RECORDED[model];
  const maker: Maker = ['F32', 'F16', 'BF16', 'Q8_0'].includes(quant) ? 'converter' : 'quantize';
  const [names, metadata] = [entry?.tensors[maker] ?? [], entry?.metadata[maker] ?? []];
  const [types, hashes] = [entry?.types[quant]?.split(' ') ?? [], entry?.hashes[quant]?.split(' ') ?? []];
  return {
    tensors: names.map((name, i) => `${name} ${types[i]} ${hashes[i]}`),
    metadata: lines(metadata.map(([key, type, value]) => [key, TYPE_NAMES[type] ?? type, value])),
    fileType: null,
  };
}

/** Of column i in every matrix, as oracle/record.py gives it to llama-quantize. */
export function importanceValue(column: number): number {
  return (((column * 7919) % 101) + 1) / 16;
}

export async function describeGguf(path: string): Promise<Described> {
  const { tensors, metadata } = await readGgufHeader(path);
  const bytes = await readFile(path);
  const entries = [...metadata].map(([key, value]) => [key, value.type, plain(value)] as const);
  return {
    tensors: tensors.map(({ name, type, dimensions, offset, byteLength }) => {
      const hash = createHash('sha256')
        .update(bytes.subarray(offset, offset + byteLength))
        .digest('hex');
      return `${name} ${dimensions.join('x')} ${type.name} ${hash.slice(0, 8)}`;
    }),
    metadata: lines(entries),
    fileType: plain(metadata.get('general.file_type') as GgufValue),
  };
}

const TYPE_NAMES: Readonly<Record<string, string>> = { uint32: 'u32', int32: 'i32', float32: 'f32' };

function lines(entries: readonly (readonly [string, string, unknown])[]): string[] {
  return entries
    .filter(([key]) => !GUESSED.has(key) && key !== 'general.file_type')
    .map(([key, type, value]) => `${key} ${type} ${type === 'f32' ? Math.fround(value as number) : String(value)}`);
}

function plain(value: GgufValue): unknown {
  return value.type === 'array' ? value.items : value.value;
}
