/** From a started (or found) Ollama to a loaded model of ours, and its requests. */
import { join } from 'node:path';
import { assert } from '../../core/assert.ts';
import type {
  EngineProcess,
  EngineSession,
  GenerateRequest,
  Generation,
  LaunchRequest,
  LoadedInfo,
} from '../../core/engine.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { exitText } from '../../core/process-exit.ts';
import type { ProcessExit } from '../../core/process-exit.ts';
import { monotonicMs, sleep } from '../../platform/clock.ts';
import { lastLines } from '../../platform/process/byte-tail.ts';
import { streamSse } from '../../platform/network/http.ts';
import { parseNdjson } from '../../platform/network/ndjson.ts';
import { parseSystemInfo } from './llama-system-info.ts';
import { createTextNumbers, generateBody, readGeneration } from './ollama-answer.ts';
import {
  createModel,
  deleteModel,
  hasBlob,
  loadedModel,
  loadModel,
  pushBlob,
  readVersion,
  showModel,
} from './ollama-api.ts';
import type { LoadedModel, OllamaServer, ShownModel } from './ollama-api.ts';
import { deviceFromLog, settingsFromLog } from './ollama-log.ts';
import { placeModel, sha256Of } from './ollama-store.ts';
import { rewritesFiles } from './ollama-version.ts';

/** Starting is polled; 25 ms is far below the time of a start and far above the cost of a poll. */
const POLL_MS = 25;
const POLL_TIMEOUT_MS = 5_000;
/**
 * The news of a death comes after the end of the connection, and after the runner, Ollama's own child, has been ended
 * as well. A server that has just said something is alive: there is little to wait for.
 */
const DEATH_NEWS_MS = { silent: 3_000, answered: 300 } as const;
/** Unloading frees memory, deleting removes files: seconds at most. */
const CLEAN_UP_MS = 10_000;
/** ~150 bytes a line, ~3 kB with log-probabilities. */
const STREAM_BYTES_MAX = 256 << 20;
const LINES_SHOWN = 8;

/** The variant of a server that we did not start. */
export const RUNNING = 'running';

/** One connection: what every step needs to know. */
interface Link {
  readonly process: EngineProcess;
  readonly request: LaunchRequest;
  readonly isOurs: boolean;
  readonly base: string;
  readonly sha256: string;
  /** The server with the time that is left. */
  readonly server: () => OllamaServer;
}

/** As gguf-split names the files of a model. */
const PART = /-\d{5}-of-\d{5}\.gguf$/;

function inSeveralFiles(path: string): AppError {
  return new AppError('engine-launch-failed', `Ollama takes a model from one file, and ${path} is one of several.`, {
    hint: `Make one file of them: runoff models convert ${path} --to gguf`,
  });
}

/** The folder that a started server keeps models in: no other server knows the model of this run. */
export function storeOf({ workFolder, runId }: Pick<LaunchRequest, 'workFolder' | 'runId'>): string {
  return join(workFolder, runId);
}

/**
 * Waits for the server, gives it the model, proves that it has it, and loads it.
 * @throws AppError `engine-launch-failed`, `engine-timeout`, `port-taken`, or what the requests throw.
 */
export async function connectOllama(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  if (PART.test(request.modelPath)) throw inSeveralFiles(request.modelPath);
  const deadlineMs = monotonicMs() + timeoutMs;
  const isOurs = request.engine.variant !== RUNNING;
  const base = isOurs ? `http://127.0.0.1:${request.port}` : request.engine.location;
  const sha256 = request.modelSha256 ?? (await sha256Of(request.modelPath));
  const server = (): OllamaServer => ({ base, timeoutMs: Math.max(0, deadlineMs - monotonicMs()) });
  const link: Link = { process, request, isOurs, base, sha256, server };
  const version = await waitForServer(link, deadlineMs);
  // What a server that stays would keep of ours; one that we stop takes it along.
  const close = isOurs ? undefined : (): Promise<void> => cleanUp(link);
  try {
    const info = await giveModel(link, version);
    const numberOf = createTextNumbers();
    const generate = (ask: GenerateRequest): Promise<Generation> => generateOrTellDeath(link, ask, numberOf);
    return { info, generate, ...(close === undefined ? {} : { close }) };
  } catch (error) {
    await close?.();
    const exit = await exitAfter(link, error);
    if (exit === null) throw notStarted(error);
    throw died(process, exit, { code: 'engine-launch-failed', when: 'while it loaded the model', cause: error });
  }
}

/** A request that is refused while we connect means that the model cannot be measured there. */
function notStarted(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'engine-request-failed') return error;
  return new AppError('engine-launch-failed', `Ollama did not take or load the model: ${error.message}`, {
    cause: error,
  });
}

async function waitForServer({ process, base, isOurs }: Link, deadlineMs: number): Promise<string> {
  let gone: ProcessExit | null = null;
  void process.exited.then((exit) => (gone = exit));
  let last = 'no answer';
  while (monotonicMs() < deadlineMs) {
    if (gone !== null) throw died(process, gone, { code: 'engine-launch-failed', when: 'at its start' });
    try {
      return await readVersion({ base, timeoutMs: Math.min(POLL_TIMEOUT_MS, deadlineMs - monotonicMs()) });
    } catch (error) {
      last = messageOf(error);
    }
    await sleep(POLL_MS);
  }
  throw new AppError('engine-timeout', `Ollama did not answer at ${base} (last: ${last})`, {
    hint: isOurs ? 'Run ollama serve by hand to see what it prints.' : 'Check that it still runs.',
    context: { stderr: process.stderrTail() },
  });
}

async function giveModel(link: Link, version: string): Promise<LoadedInfo> {
  const { request, isOurs, sha256, server } = link;
  const { runId, modelPath, settings } = request;
  if (isOurs) await placeModel({ store: storeOf(request), name: runId, modelPath, sha256 });
  else await uploadModel(link);
  const shown = await showModel(server(), runId);
  if (shown === null) throw unknownModel(link);
  const isCopy = proveWeights(link, shown, version);
  await loadModel(server(), generateBody({ model: runId, prompt: '', settings, generateTokens: 1, topLogprobs: 0 }));
  const loaded = await loadedModel(server(), runId);
  if (loaded === null)
    throw new AppError('engine-launch-failed', 'Ollama says that the model is loaded and lists it not');
  return describe(link, { version, shown, loaded, isCopy });
}

/** A server of the user's own: its folder is not ours to write to, and an upload is hashed by the server. */
async function uploadModel({ request, sha256, server }: Link): Promise<void> {
  if (!(await hasBlob(server(), sha256))) await pushBlob(server(), sha256, request.modelPath);
  await createModel(server(), request.runId, sha256);
}

function unknownModel({ isOurs, request, base }: Link): AppError {
  if (!isOurs) return new AppError('engine-protocol', `Ollama at ${base} does not know the model that it just made`);
  return new AppError('port-taken', `port ${request.port} is answered by another Ollama`, {
    hint: 'Stop the other server, or run again: a new port is chosen every time.',
  });
}

/**
 * The weights that the model is served from must be our file. From 0.30 on a running server measures a copy of it that
 * llama-quantize rewrote without changing a tensor; that copy has another SHA-256, and the record says so.
 * @returns whether it is such a copy
 */
function proveWeights({ isOurs, sha256 }: Link, { weightsSha256 }: ShownModel, version: string): boolean {
  if (weightsSha256 === sha256) return false;
  if (!isOurs && weightsSha256 !== null && rewritesFiles(version)) return true;
  throw new AppError(
    'engine-launch-failed',
    `wrong model: Ollama serves weights with SHA-256 ${weightsSha256 ?? '(not told)'}, the file has ${sha256}`,
    { hint: 'Run again; if it stays so, this version of Ollama keeps its models in another way: report it.' },
  );
}

function describe(
  { process, request, isOurs }: Link,
  facts: {
    readonly version: string;
    readonly shown: ShownModel;
    readonly loaded: LoadedModel;
    readonly isCopy: boolean;
  },
): LoadedInfo {
  const { version, shown, loaded, isCopy } = facts;
  const log = isOurs ? process.stderrTail() : '';
  const settings = settingsFromLog(log);
  const isOnCpu = loaded.vramBytes === 0;
  const system = /system_info:.*/.exec(log)?.[0] ?? '';
  return {
    settings: { ...settings, ...(loaded.contextTokens === null ? {} : { contextTokens: loaded.contextTokens }) },
    build: { ...request.engine.build, version: `ollama ${version}`, ...parseSystemInfo(system) },
    device: isOnCpu ? 'cpu' : deviceFromLog(log),
    vocabularySize: shown.vocabularySize,
    // It keeps no name of the file; the SHA-256 is proven.
    modelName: null,
    engineLoadMs: null,
    numericMode: [
      ...(isOnCpu ? ['int8 activations'] : []),
      settings.kvType === undefined ? 'KV cache type not told' : `${settings.kvType} KV cache`,
      ...(isCopy ? ['a copy of the file that Ollama rewrote'] : []),
    ].join(', '),
  };
}

async function generateOrTellDeath(
  link: Link,
  ask: GenerateRequest,
  numberOf: (text: string) => number,
): Promise<Generation> {
  try {
    return await generate(link, ask, numberOf);
  } catch (error) {
    const exit = await exitAfter(link, error);
    if (exit === null) throw error;
    throw died(link.process, exit, { code: 'engine-died', when: 'during a request', cause: error });
  }
}

/**
 * Ollama always asks its runner to use the prompt cache (`CachePrompt: true` in llm/llama_server.go) and offers no
 * switch. With one slot the cache is the last prompt, so a short other prompt before each request, which is not timed,
 * leaves nothing to reuse but a BOS. A second cache in RAM is off in servers that we start (LLAMA_ARG_CACHE_RAM).
 */
async function generate(
  { base, request }: Link,
  ask: GenerateRequest,
  numberOf: (text: string) => number,
): Promise<Generation> {
  const { promptText } = ask;
  assert(promptText !== undefined, 'Ollama takes text');
  const deadlineMs = monotonicMs() + ask.timeoutMs;
  const common = { model: request.runId, settings: request.settings };
  const send = async (prompt: string, generateTokens: number, topLogprobs: number): Promise<Generation> => {
    const body = generateBody({ ...common, prompt, generateTokens, topLogprobs });
    const timeoutMs = Math.max(0, deadlineMs - monotonicMs());
    const { startedMs, chunks } = await streamSse(`${base}/api/generate`, body, {
      timeoutMs,
      maxBytes: STREAM_BYTES_MAX,
    });
    const lines = parseNdjson(chunks).map(({ atMs, line }) => ({ atMs: atMs - startedMs, line }));
    return readGeneration(lines, numberOf);
  };
  await send(displacing(promptText), 1, 0);
  return send(promptText, ask.generateTokens, ask.topLogprobs);
}

/** A prompt that does not start as the other one does. */
export function displacing(promptText: string): string {
  return promptText.trimStart().startsWith('7') ? '3' : '7';
}

/** Best effort by design: a server that is gone has nothing of ours, and a stop must not fail the measurement. */
async function cleanUp({ base, request }: Link): Promise<void> {
  await deleteModel({ base, timeoutMs: CLEAN_UP_MS }, request.runId).catch(() => {});
}

/** A server that dies takes its connection with it: the death is the cause, the broken connection only its sign. */
async function exitAfter({ process, isOurs }: Link, error: unknown): Promise<ProcessExit | null> {
  if (!isOurs) return null;
  const isBroken = error instanceof AppError && error.code === 'engine-request-failed' && !('status' in error.context);
  const waitMs = isBroken ? DEATH_NEWS_MS.silent : DEATH_NEWS_MS.answered;
  return Promise.race([process.exited, sleep(waitMs).then(() => null)]);
}

function died(
  process: EngineProcess,
  exit: ProcessExit,
  { code, when, cause }: { code: 'engine-launch-failed' | 'engine-died'; when: string; cause?: unknown },
): AppError {
  const lines = lastLines(process.stderrTail(), LINES_SHOWN);
  return new AppError(
    code,
    `Ollama ended ${when} (${exitText(exit)}); its last lines:\n${lines}`,
    cause === undefined ? {} : { cause },
  );
}
