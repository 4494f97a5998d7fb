import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Large enough to read at the disk's speed, small enough to disappear beside a model. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/**
 * Reads a model's file, or the files of its folder, through once, so that every engine loads from the page cache and
 * the first one does not pay for the disk. Gives other work a turn after every chunk.
 */
export async function warmPageCache(path: string): Promise<void> {
  const facts = await stat(path);
  if (!facts.isDirectory()) return readThrough(path);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    // Links too: model hubs keep their files in a store and link to them.
    if ((await stat(child)).isFile()) await readThrough(child);
  }
}

async function readThrough(path: string): Promise<void> {
  const file = await open(path, 'r');
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  try {
    while ((await file.read(chunk, 0, CHUNK_BYTES, null)).bytesRead > 0);
  } finally {
    await file.close();
  }
}
