/** Where the hub is, where its cache lies and which token is used: the same variables that its Python library reads. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** Holds `models--OWNER--NAME` folders; shared with every program that uses the hub's cache. */
  readonly cacheFolder: string;
  /** Never printed, never stored. */
  readonly token: string | null;
  /** Where the token came from, or should be put, in words. */
  readonly tokenPlace: string;
  /** The variable that forbids the network; null where it is allowed. */
  readonly offlineBecause: string | null;
  /** False: the user wants copies instead of links. */
  readonly symlinks: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_ENDPOINT = 'https://huggingface.co';
/** Real ones have some 40 characters; those of single sign-on some thousand. */
const TOKEN_CHARACTERS_MAX = 10_000;
const TRUE_WORDS = ['1', 'ON', 'YES', 'TRUE'];

/** @throws AppError `usage` for a variable that cannot be used */
export async function hubSettings(env: Environment = process.env): Promise<HubSettings> {
  const home =
    folderOf(env, 'HF_HOME') ?? join(folderOf(env, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  const tokenFile = folderOf(env, 'HF_TOKEN_PATH') ?? join(home, 'token');
  const { token, place } = await findToken(env, tokenFile);
  return {
    endpoint: endpointOf(env),
    cacheFolder: folderOf(env, 'HF_HUB_CACHE') ?? folderOf(env, 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
    token,
    tokenPlace: place,
    offlineBecause: ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].find((name) => isTrue(env[name])) ?? null,
    symlinks: !isTrue(env['HF_HUB_DISABLE_SYMLINKS']),
  };
}

function endpointOf(env: Environment): string {
  const given = env['HF_ENDPOINT']?.trim();
  if (given === undefined || given === '') return DEFAULT_ENDPOINT;
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new AppError(
      'usage',
      `HF_ENDPOINT is not the address of a hub: ${given.replace(/\/\/[^/@]*@/, '//***@').slice(0, 200)}`,
      {
        hint: 'Give it like https://hub.example.org, or unset it.',
      },
    );
  }
  return url.href.replace(/\/+$/, '');
}

async function findToken(env: Environment, file: string): Promise<{ token: string | null; place: string }> {
  if (isTrue(env['HF_HUB_DISABLE_IMPLICIT_TOKEN']))
    return { token: null, place: 'HF_TOKEN (HF_HUB_DISABLE_IMPLICIT_TOKEN switches it off)' };
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const token = clean(env[name], name);
    if (token !== null) return { token, place: name };
  }
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return '';
    throw new AppError('usage', `the hub's token file ${file} cannot be read: ${messageOf(error)}`, {
      hint: 'Check its permissions, or name another by HF_TOKEN_PATH.',
      cause: error,
    });
  });
  const token = clean(text, file);
  return { token, place: token === null ? 'HF_TOKEN' : file };
}

/** A line feed in the middle would end the header: only what a header may carry is taken. */
function clean(text: string | undefined, place: string): string | null {
  const token = (text ?? '').trim();
  if (token === '') return null;
  if (token.length <= TOKEN_CHARACTERS_MAX && /^[\x21-\x7E]+$/.test(token)) return token;
  throw new AppError(
    'usage',
    `the token in ${place} is not a token: it is too long or has spaces or line ends inside`,
    {
      hint: 'Put one token there and nothing else.',
    },
  );
}

function folderOf(env: Environment, name: string): string | null {
  const value = env[name];
  if (value === undefined || value === '') return null;
  return resolve(/^~(?=$|[/\\])/.test(value) ? join(homedir(), value.slice(1)) : value);
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && TRUE_WORDS.includes(value.toUpperCase());
}
