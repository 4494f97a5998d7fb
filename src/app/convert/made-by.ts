/** The record of a converter that is not runoff's: MODEL.gguf.made-by.json, or made-by.json in a folder. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { identifySources, type SourceIdentity } from '../../models/resume/identity.ts';

const RECORD_BYTES_MAX = 1 << 20;

const identitySchema = z.object({ name: z.string(), bytes: z.number(), modifiedMs: z.number() });
const recordSchema = z.object({
  madeBy: z.string().min(1).max(500),
  /** The file that it speaks of; null: the folder that it lies in. */
  model: identitySchema.nullable(),
});

export type ModelKind = 'file' | 'folder';

export interface MadeBy {
  /** Converter with its versions. */
  readonly madeBy: string;
  readonly command: readonly string[];
  readonly packages: Readonly<Record<string, string>>;
  readonly source: readonly SourceIdentity[];
  /** How the weights compare with the source's, in words. */
  readonly comparison: string;
}

interface Model {
  readonly path: string;
  readonly kind: ModelKind;
}

function recordPath({ path, kind }: Model): string {
  return kind === 'folder' ? join(path, 'made-by.json') : `${path}.made-by.json`;
}

async function identityOf({ path, kind }: Model): Promise<SourceIdentity | null> {
  return kind === 'folder' ? null : ((await identifySources([path]))[0] ?? null);
}

export async function writeMadeBy(model: Model, record: MadeBy): Promise<void> {
  const { madeBy, ...rest } = record;
  const whole = { madeBy, model: await identityOf(model), ...rest };
  await writeFile(recordPath(model), `${JSON.stringify(whole, null, 2)}\n`);
}

/** Null where there is no record, none that can be read, or one of an earlier file of the same name. */
export async function readMadeBy(model: Model): Promise<string | null> {
  try {
    const path = recordPath(model);
    if ((await stat(path)).size > RECORD_BYTES_MAX) return null;
    const record = recordSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    const isSame = JSON.stringify(record.model) === JSON.stringify(await identityOf(model));
    return isSame ? record.madeBy : null;
  } catch {
    return null;
  }
}
