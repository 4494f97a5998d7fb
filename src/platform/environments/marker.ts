import { existsSync, realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { atomicWrite } from '../files/atomic-write.ts';

/** Written last: a folder without it is a build that did not end. */
const MARKER_FILE = '.complete';

const markerSchema = z.object({
  hash: z.string(),
  /** What the runtime's link led to: a Python that the system has replaced no longer finds its packages. */
  runtimeTarget: z.string(),
  packages: z.record(z.string(), z.string()),
});

export type Marker = z.infer<typeof markerSchema>;

export interface MarkerPlace {
  readonly root: string;
  readonly hash: string;
  /** The node or python executable that runs it. */
  readonly runtime: string;
}

export async function writeMarker({ root, hash, runtime }: MarkerPlace, packages: Record<string, string>): Promise<void> {
  const marker: Marker = { hash, runtimeTarget: targetOfLink(root, runtime), packages };
  await atomicWrite(join(root, MARKER_FILE), `${JSON.stringify(marker, null, 2)}\n`);
}

/** The marker of a whole environment of this very definition; null when anything is not as it was left. */
export async function readMarker({ root, hash, runtime }: MarkerPlace): Promise<Marker | null> {
  try {
    const marker = markerSchema.parse(JSON.parse(await readFile(join(root, MARKER_FILE), 'utf8')));
    return marker.hash === hash && existsSync(runtime) && marker.runtimeTarget === targetOfLink(root, runtime) ? marker : null;
  } catch {
    return null;
  }
}

/** A runtime of the environment's own; our Node may be another one tomorrow, its packages run on any. */
function targetOfLink(root: string, runtime: string): string {
  return runtime.startsWith(root) ? realpathSync(runtime) : '';
}
