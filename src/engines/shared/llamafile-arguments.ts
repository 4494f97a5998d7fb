/**
 * What a llamafile is told: the arguments that it brings itself (`.args`), and ours.
 *
 * Of two equal flags the later one counts, so whatever stands before `...` is overruled by ours, and whatever stands
 * behind it overrules ours. Without `...` the user's arguments replace `.args` (LoadZipArgs and cosmo_args of
 * github.com/jart/cosmopolitan, 2026-11-25).
 */
import { llamaServerArguments } from './llama-server-arguments.ts';
import { AppError } from '../../core/errors.ts';
import type { EngineSettings, LaunchRequest } from '../../core/engine.ts';
import { isBefore } from '../../core/version-order.ts';
import type { LlamafileApi } from './llamafile-program.ts';

/** Stands in `.args` for the user's arguments. */
const USER_ARGUMENTS = '...';
/** First versions of v1's server with these flags (the tags of github.com/mozilla-ai/llamafile). */
const KV_TYPE_SINCE = '0.7.0';
const FLASH_ATTENTION_SINCE = '0.8.8';
/** All layers: releases up to 0.9.3 leave NVIDIA and AMD alone without it. */
const ALL_LAYERS = '9999';

/** Flags with a value that ours overrule, in every generation. */
const OVERRULED_BY_OURS = `-m --model --host --port -a --alias -c --ctx-size --ctx_size -t --threads -tb --threads-batch
  -b --batch-size -np --parallel --gpu -l --listen -ctk --cache-type-k -ctv --cache-type-v -ub --ubatch-size`;
/** Flags with a value that every request brings itself. */
const OVERRULED_BY_REQUESTS = '--temp --repeat-penalty --seed --top-k --top-p --min-p';
const OVERRULED = new Set(`${OVERRULED_BY_OURS} ${OVERRULED_BY_REQUESTS}`.split(/\s+/));
/** Flags without a value that change neither the work nor the answers. */
const HARMLESS = new Set(['--server', '--nologo', '--ascii', '--no-display-prompt', '--log-disable']);
/** Only v1 knows it; llamafiler and 0.10 end with an error. */
const NO_BROWSER = '--nobrowser';
const GPU_LAYERS = new Set(['-ngl', '--gpu-layers', '--n-gpu-layers']);

/** Pure: what in `.args` would change the work or end the server; null when nothing does. */
export function argumentsProblem(words: readonly string[], api: LlamafileApi): string | null {
  const at = words.indexOf(USER_ARGUMENTS);
  if (at < 0) return null;
  const behind = words.slice(at + 1);
  if (behind.length > 0) return `${behind.join(' ')} comes behind "..." and overrules what runoff asks for`;
  for (let index = 0; index < at; index++) {
    const word = words[index] ?? '';
    if (OVERRULED.has(word) || GPU_LAYERS.has(word)) index += 1;
    else if (!HARMLESS.has(word) && !(word === NO_BROWSER && api === 'v1')) return `${word} would change the work`;
  }
  return null;
}

/** Pure: the model that `.args` names, as its entry is called; null when they name none. */
export function modelInArguments(words: readonly string[]): string | null {
  const at = words.findLastIndex((word) => word === '-m' || word === '--model');
  return at < 0 ? null : (words[at + 1]?.replace(/^\/zip\//, '') ?? null);
}

export interface ArgumentsAsk {
  readonly api: LlamafileApi;
  readonly version: string;
  readonly request: LaunchRequest;
}

/** Pure: everything that matters is named, so that neither a default nor `.args` decides. */
export function serverArguments(ask: ArgumentsAsk): string[] {
  if (ask.api === 'v2') return v2Arguments(ask);
  return ask.api === 'v1' ? v1Arguments(ask) : newestArguments(ask);
}

/** A name of the zip is found in the program itself where the working folder has no such file: it is empty. */
function modelArgument({ api, request: { engine, modelPath } }: ArgumentsAsk): string {
  if (engine.carries === undefined || modelPath !== engine.location) {
    // Up to 0.9.3 it separates a zip from a name in it (llamafile_open_gguf).
    if (api !== 'llama-server' && modelPath.includes('@'))
      throw refused(`${modelPath} contains @, which llamafile takes for a file inside a zip`, 'Move the model.');
    return modelPath;
  }
  return api === 'llama-server' ? `/zip/${engine.carries.name}` : engine.carries.name;
}

function v1Arguments(ask: ArgumentsAsk): string[] {
  const { version, request } = ask;
  const { settings, port, runId } = request;
  const threads = String(settings.threads);
  return [
    '--server',
    NO_BROWSER,
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '-m',
    modelArgument(ask),
    '-a',
    runId,
    '--ctx-size',
    String(settings.contextTokens),
    '-t',
    threads,
    '-tb',
    threads,
    '-b',
    String(settings.batchTokens),
    '-np',
    '1',
    ...kvArguments(version, settings),
    // Older ones have none: the report then shows that it was off.
    ...(settings.flashAttention && !isBefore(version, FLASH_ATTENTION_SINCE) ? ['-fa'] : []),
    ...(settings.mmap ? [] : ['--no-mmap']),
    ...gpuArguments(settings),
  ];
}

function kvArguments(version: string, { kvType }: EngineSettings): string[] {
  if (!isBefore(version, KV_TYPE_SINCE)) return ['-ctk', kvType, '-ctv', kvType];
  if (kvType === 'f16') return [];
  throw refused(`llamafile ${version} keeps keys and values in f16 only, not ${kvType}`);
}

/** `--gpu disable` holds on macOS, too, where Metal is on by default. */
function gpuArguments({ gpu }: EngineSettings): string[] {
  return gpu === 'off' ? ['--gpu', 'disable'] : ['-ngl', ALL_LAYERS];
}

/** llamafiler has no name for models: the run's id is the prefix of every address instead. */
function v2Arguments(ask: ArgumentsAsk): string[] {
  const { settings, port, runId } = ask.request;
  if (settings.kvType !== 'f16') throw refused(`llamafiler keeps keys and values in f16 only, not ${settings.kvType}`);
  if (!settings.mmap) throw refused('llamafiler maps its model into memory always');
  const threads = String(settings.threads);
  return [
    '--server',
    '--v2',
    '-l',
    `127.0.0.1:${port}`,
    '--url-prefix',
    `/${runId}`,
    // Never last: 0.9 then takes it for a flag without its value (llamafile/flags.cpp of 0.9.3).
    ...(settings.flashAttention ? ['-fa'] : []),
    '-m',
    modelArgument(ask),
    '--ctx-size',
    String(settings.contextTokens),
    '-t',
    threads,
    '-tb',
    threads,
    '-b',
    String(settings.batchTokens),
    '-ub',
    String(settings.microBatchTokens),
    '--slots',
    '1',
    ...gpuArguments(settings),
  ];
}

/** As llama.cpp's own server is started; 0.10 takes `--server` and `--gpu` off and hands the rest on. */
function newestArguments(ask: ArgumentsAsk): string[] {
  const { settings } = ask.request;
  // --no-mmap became --load-mode in the course of 0.10, and only a running program tells which it has.
  if (!settings.mmap) throw refused('llamafile 0.10 is measured with memory mapping only');
  return [
    '--server',
    ...llamaServerArguments(modelArgument(ask), ask.request),
    ...(settings.gpu === 'off' ? ['--gpu', 'disable', '--n-gpu-layers', '0'] : ['--n-gpu-layers', ALL_LAYERS]),
  ];
}

function refused(what: string, hint = 'Use another llamafile, or leave the setting as it is.'): AppError {
  return new AppError('engine-unavailable', what, { hint });
}
