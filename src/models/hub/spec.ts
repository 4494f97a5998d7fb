/** `hf:OWNER/NAME[@REVISION][:FILE]`, taken apart and put together. */
import { AppError } from '../../core/errors.ts';

export interface HubSpec {
  /** OWNER/NAME; a few old ones have no owner. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** A path inside, the name of a quantisation, or `safetensors`; null where the repository holds one model. */
  readonly wanted: string | null;
}

/** The hub's own rules for names. */
const NAME = String.raw`[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?`;
const REPO = new RegExp(`^(?:${NAME}/)?${NAME}$`);
/** As git allows them, without what would leave a folder. */
const REVISION = /^[A-Za-z0-9_][\w.+/-]{0,199}$/;
const WANTED_CHARACTERS_MAX = 1_000;
export const COMMIT = /^[0-9a-f]{40}$/;

/** @throws AppError `usage` with the part that is wrong */
export function parseHubSpec(text: string): HubSpec {
  const match = /^hf:([^@:]*)(?:@([^:]*))?(?::(.*))?$/s.exec(text);
  const [, repo = '', revision = 'main', wanted = null] = match ?? [];
  if (match === null || !isRepoName(repo)) throw wrong(text, `"${repo}" is not the name of a repository`);
  if (!isRevision(revision)) throw wrong(text, `"${revision}" is not a branch, a tag or a commit`);
  if (wanted !== null && (wanted === '' || wanted.length > WANTED_CHARACTERS_MAX))
    throw wrong(text, 'no file is named after the colon');
  return { repo, revision, wanted };
}

export function isRepoName(text: string): boolean {
  return REPO.test(text) && !/--|\.\.|\.git$/.test(text);
}

function isRevision(text: string): boolean {
  return REVISION.test(text) && !/\.\.|\/\/|\/$|\/\.|\.lock(\/|$)|\.$/.test(text);
}

export function formatHubSpec({ repo, revision, wanted }: HubSpec): string {
  return `hf:${repo}${revision === 'main' ? '' : `@${revision}`}${wanted === null ? '' : `:${wanted}`}`;
}

function wrong(text: string, reason: string): AppError {
  return new AppError('usage', `${text.slice(0, 300)}: ${reason}`, {
    hint: 'Write it as hf:OWNER/NAME, hf:OWNER/NAME:FILE.gguf or hf:OWNER/NAME@REVISION:FILE.gguf.',
  });
}
