/**
 * Worker for the `llama-cpp` engine: llama.cpp inside this process through node-llama-cpp.
 *
 * Speaks the worker protocol (src/platform/process/protocol.ts): requests on stdin, replies on fd 3, so that whatever
 * native code prints on stdout cannot touch it. argv[2] is the managed environment that holds node-llama-cpp.
 */
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { NodeLlamaCpp, NlcContext, NlcModel, NlcSequence } from './node-llama-cpp-api.ts';

const REPLY_FD = 3;

interface LoadParams {
  readonly modelPath: string;
  /** `runoff selftest` makes a copy of this engine that is slower by this share, e.g. 0.1. */
  readonly burnShare?: number;
  readonly settings: {
    readonly threads: number;
    readonly contextTokens: number;
    readonly batchTokens: number;
    readonly mmap: boolean;
    readonly flashAttention: boolean;
    readonly gpu: 'off' | 'auto';
  };
}

interface GenerateParams {
  readonly promptTokens: number[];
  readonly generateTokens: number;
  readonly bannedTokens: number[];
  readonly topLogprobs: number;
}

interface Loaded {
  readonly library: NodeLlamaCpp;
  readonly model: NlcModel;
  readonly context: NlcContext;
  readonly sequence: NlcSequence;
}

let loaded: Loaded | null = null;
let burnShare = 0;

async function load(params: LoadParams): Promise<unknown> {
  const startedMs = performance.now();
  burnShare = params.burnShare ?? 0;
  const { settings } = params;
  const library = await importLibrary();
  const llama = await library.getLlama({
    gpu: settings.gpu === 'off' ? cpuBackend(process.platform, process.arch) : 'auto',
    build: 'never',
    maxThreads: settings.threads,
    logLevel: library.LlamaLogLevel.warn,
    progressLogs: false,
  });
  const model = await llama.loadModel({
    modelPath: params.modelPath,
    useMmap: settings.mmap,
    ...(settings.gpu === 'off' ? { gpuLayers: 0 } : {}),
  });
  const context = await model.createContext({
    contextSize: settings.contextTokens,
    batchSize: settings.batchTokens,
    threads: settings.threads,
    flashAttention: settings.flashAttention,
    sequences: 1,
  });
  loaded = { library, model, context, sequence: context.getSequence() };
  return {
    engineLoadMs: performance.now() - startedMs,
    systemInfo: llama.systemInfo,
    gpu: llama.gpu,
    libraryRelease: llama.llamaCppRelease.release,
    vocabularySize: model.fileInfo.metadata.tokenizer?.ggml?.tokens?.length ?? null,
    settings: {
      // node-llama-cpp sets the micro-batch to the batch.
      threads: context.currentThreads || settings.threads,
      contextTokens: context.contextSize,
      batchTokens: context.batchSize,
      microBatchTokens: context.batchSize,
      flashAttention: context.flashAttention,
    },
  };
}

/** Apple silicon has a Metal build only: it stays on the CPU by offloading no layer. */
function cpuBackend(platform: NodeJS.Platform, arch: string): false | 'metal' {
  return platform === 'darwin' && arch === 'arm64' ? 'metal' : false;
}

async function importLibrary(): Promise<NodeLlamaCpp> {
  const root = process.argv[2];
  if (root === undefined) throw new TypeError('argv[2] must be the folder that holds node-llama-cpp');
  const resolved = createRequire(join(root, 'package.json')).resolve('node-llama-cpp');
  return (await import(pathToFileURL(resolved).href)) as NodeLlamaCpp;
}

async function generate(params: GenerateParams): Promise<unknown> {
  if (loaded === null) throw new TypeError('generate before load');
  const { sequence, model, library } = loaded;
  await sequence.clearHistory();
  const cachedTokenCount = sequence.nextTokenIndex;
  const options = {
    temperature: 0,
    yieldEogToken: true,
    ...(params.bannedTokens.length > 0 ? { tokenBias: banTokens(library, model, params.bannedTokens) } : {}),
  };
  const tokens: number[] = [];
  const eventMs: number[] = [];
  let promptTokenCount = 0;
  let firstTokenLogprobs: { token: number; logprob: number }[] = [];
  const startedMs = performance.now();
  const stamp = (): number => performance.now() - startedMs;
  if (params.topLogprobs > 0) {
    for await (const output of sequence.evaluateWithMetadata(params.promptTokens, { probabilities: true }, options)) {
      if (tokens.length === 0) {
        promptTokenCount = sequence.nextTokenIndex;
        firstTokenLogprobs = topLogprobs(output.probabilities, params.topLogprobs);
      }
      eventMs.push(stamp());
      if (tokens.push(output.token) >= params.generateTokens) break;
    }
  } else {
    for await (const token of sequence.evaluate(params.promptTokens, options)) {
      eventMs.push(stamp());
      if (tokens.length === 0) promptTokenCount = sequence.nextTokenIndex;
      if (tokens.push(token) >= params.generateTokens) break;
    }
  }
  const slowMs = eventMs.map((ms) => ms * (1 + burnShare));
  burnUntil(startedMs + (slowMs.at(-1) ?? 0));
  return { tokens, eventMs: slowMs, promptTokenCount, cachedTokenCount, firstTokenLogprobs };
}

/**
 * All at the end, with the times of the events stretched alike: a pause between two tokens costs more than itself, since the
 * threads that this engine creates for each token start worse after it (30% of pauses made it 90% slower with two threads).
 */
function burnUntil(ms: number): void {
  while (performance.now() < ms);
}

/**
 * The public TokenBias.set() ignores end-of-generation tokens, and without the ban `evaluate` ends early (52 of 125
 * tokens seen). So the pinned version's internal map is written, and its absence is an error, not a silent short answer.
 */
function banTokens(library: NodeLlamaCpp, model: NlcModel, banned: readonly number[]): unknown {
  const bias = new library.TokenBias(model.tokenizer);
  const biases = bias._biases;
  if (!(biases instanceof Map))
    throw new TypeError('this node-llama-cpp keeps token biases elsewhere: use the pinned version');
  for (const token of banned) biases.set(token, -Infinity);
  return bias;
}

function topLogprobs(probabilities: Map<number, number>, count: number): { token: number; logprob: number }[] {
  return [...probabilities]
    .slice(0, count)
    .map(([token, probability]) => ({ token, logprob: Math.log(Math.max(probability, Number.MIN_VALUE)) }));
}

function reply(message: unknown): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(REPLY_FD, bytes, written);
    } catch (error) {
      // A full pipe answers EAGAIN until the parent has read.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

async function answer(line: string): Promise<void> {
  const request = JSON.parse(line) as { id: number; method: string; params: unknown };
  try {
    const result =
      request.method === 'load'
        ? await load(request.params as LoadParams)
        : await generate(request.params as GenerateParams);
    reply({ id: request.id, result });
  } catch (error) {
    reply({ id: request.id, error: { message: error instanceof Error ? error.message : String(error) } });
  }
}

// One request at a time, in order; the end of stdin is the end of our parent.
let queue = Promise.resolve();
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  queue = queue.then(() => answer(line));
});
lines.on('close', () => process.exit(0));
