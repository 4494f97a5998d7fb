import { createReadStream } from 'node:fs';

/** Files of /proc and /sys that are read here are far smaller; a mount table of a cluster node reaches 500 KB. */
const BYTES_MAX = 1 << 20;

/** The start of a small file; empty where it cannot be read: an unknown fact, never an error. */
export async function readText(path: string): Promise<string> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of createReadStream(path, { end: BYTES_MAX - 1 })) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  } catch {
    return '';
  }
}
