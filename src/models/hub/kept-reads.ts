/**
 * What was read of models on the hub, kept on this disk: at a commit it can never change, so that a run that is repeated or
 * resumed asks nobody. Headers only; weights have the hub's own cache.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Choice } from './choose-files.ts';
import type { RepoFile } from './repository.ts';
import { COMMIT } from './spec.ts';

const fileSchema = z.object({
  path: z.string().max(1_000),
  sizeBytes: z.int().nonnegative(),
  hash: z.string().max(64),
  hashKind: z.enum(['sha256', 'git']),
});
const choiceSchema = z.object({
  kind: z.enum(['gguf', 'safetensors']),
  weights: z.array(fileSchema),
  companions: z.array(fileSchema),
});

/** Repository, commit and what was asked for, e.g. a path with a range. */
export interface ReadKey {
  readonly repo: string;
  readonly commit: string;
  readonly what: string;
}

export class KeptReads {
  readonly #folder: string | null;

  /** @param folder null: nothing is kept */
  constructor(folder: string | null) {
    this.#folder = folder;
  }

  async bytes(key: ReadKey): Promise<Buffer | null> {
    const path = this.#pathOf(key);
    return path === null ? null : readFile(path).catch(() => null);
  }

  /** The files that a specification meant at this commit. */
  async choice(key: ReadKey): Promise<Choice<RepoFile> | null> {
    const text = await this.bytes(key);
    if (text === null) return null;
    try {
      return choiceSchema.safeParse(JSON.parse(text.toString('utf8'))).data ?? null;
    } catch {
      return null;
    }
  }

  /** A folder that cannot be written costs another request next time, nothing else. */
  async keep(key: ReadKey, content: Uint8Array | Choice<RepoFile>): Promise<void> {
    const path = this.#pathOf(key);
    if (path === null || this.#folder === null) return;
    const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeFile(temporary, content instanceof Uint8Array ? content : JSON.stringify(content));
      await rename(temporary, path);
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  /** Null for a branch or a tag, which move. */
  #pathOf({ repo, commit, what }: ReadKey): string | null {
    if (this.#folder === null || !COMMIT.test(commit)) return null;
    const name = createHash('sha256').update(`${repo}@${commit}:${what}`).digest('hex').slice(0, 40);
    return join(this.#folder, name);
  }
}
