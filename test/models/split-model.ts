/** A model in three files, written here and not by the program's splitter. */
import { readFile } from 'node:fs/promises';
import type { GgufValue } from '../../src/models/gguf/metadata.ts';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { writeGguf } from '../../src/models/gguf/write.ts';

export interface PartsChange {
  /** split.no of the second part. */
  readonly number?: number;
  readonly tensorCount?: number;
  /** Puts the first tensor into the second part, too. */
  readonly repeats?: boolean;
}

/** @returns the path of the first: STEM-00001-of-00003.gguf */
export async function writeSplitModel(
  source: string,
  stem: string,
  { number = 1, tensorCount, repeats = false }: PartsChange = {},
): Promise<string> {
  const { metadata, tensors } = await readGgufHeader(source);
  const file = await readFile(source);
  const all = tensors.map(({ name, type, dimensions, offset, byteLength }) => ({
    name,
    type,
    dimensions,
    bytes: file.subarray(offset, offset + byteLength),
  }));
  const groups = [all.slice(0, 2), all.slice(2, 3), all.slice(3)];
  if (repeats) groups[1]?.push(all[0]!);
  for (const [part, group] of groups.entries()) {
    const keys: [string, GgufValue][] = [
      ['split.no', { type: 'u16', value: part === 1 ? number : part }],
      ['split.count', { type: 'u16', value: 3 }],
      ['split.tensors.count', { type: 'i32', value: tensorCount ?? all.length }],
    ];
    await writeGguf(`${stem}-0000${part + 1}-of-00003.gguf`, {
      metadata: new Map(part === 0 ? [...metadata, ...keys] : keys),
      tensors: group,
    });
  }
  return `${stem}-00001-of-00003.gguf`;
}
