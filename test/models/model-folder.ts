/** Small Hugging Face and MLX folders, written for one test. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface FolderTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file as its specification describes it, independent of the program's writer. */
export function safetensorsFile(tensors: readonly FolderTensor[]): Buffer {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.byteLength] };
    end += bytes.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...tensors.map(({ bytes }) => bytes)]);
}

/** Replaces the folder. */
export async function writeFolder(
  folder: string,
  files: Readonly<Record<string, readonly FolderTensor[]>>,
  config: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  for (const [name, tensors] of Object.entries(files)) await writeFile(join(folder, name), safetensorsFile(tensors));
}
