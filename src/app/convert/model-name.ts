import { basename, resolve } from 'node:path';
import { parsePartName } from '../../models/gguf/parts.ts';

/** What a result is named after: the folder's name, or the file's without its ending and its number. */
export function modelName(source: string): string {
  const name = basename(resolve(source));
  return parsePartName(name)?.stem ?? name.replace(/\.gguf$/i, '');
}
