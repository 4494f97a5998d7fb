/** What a conversion is made from, for the journal. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { SourceIdentity } from './journal.ts';

export type { SourceIdentity } from './journal.ts';

/** Each file once, in order. Size and time of the last change identify it: hashing gigabytes would cost what resuming saves. */
export async function identifySources(paths: Iterable<string>): Promise<SourceIdentity[]> {
  const identities: SourceIdentity[] = [];
  for (const path of new Set(paths)) {
    const { size, mtimeMs } = await stat(path);
    identities.push({ name: basename(path), bytes: size, modifiedMs: mtimeMs });
  }
  return identities;
}

export function planDigest(parts: Iterable<Uint8Array | string>): string {
  const hash = createHash('sha256');
  // The length keeps two parts from looking like two others.
  for (const part of parts) hash.update(`${part.length}\n`).update(part);
  return hash.digest('hex');
}
