import { fileURLToPath } from 'node:url';
import { extname } from 'node:path';
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import type { Detection, Engine, EngineProcess, LaunchRequest, LoadedInfo } from '../core/engine.ts';
import { shipping } from './facts/llama-cpp.ts';
import { LLAMA_SETTINGS } from './shared/llama-settings.ts';
import { detectManaged } from './shared/managed-detection.ts';
import { parseSystemInfo, threadsWithoutPool } from './shared/llama-system-info.ts';
import { generateInWorker, parseWorkerReply } from './shared/worker-session.ts';

const ENVIRONMENT = 'node-llama-cpp';
/** The worker lies beside this file, as TypeScript in the source tree and as JavaScript in the package. */
const WORKER = fileURLToPath(new URL(`./workers/llama-cpp${extname(import.meta.url)}`, import.meta.url));

/**
 * The binding decodes each token on the next of libuv's workers, four by default; with two compute threads
 * that was slower than with one (docs/METHODOLOGY.md). With one worker every token is decoded on the same thread.
 */
const ENVIRONMENT_VARIABLES = { UV_THREADPOOL_SIZE: '1' };

const loadReply = z.object({
  engineLoadMs: z.number().nonnegative(),
  systemInfo: z.string().max(10_000),
  gpu: z.union([z.string(), z.literal(false)]),
  libraryRelease: z.string().max(200),
  vocabularySize: z.number().int().nullable(),
  settings: z.object({
    threads: z.number().int(),
    contextTokens: z.number().int(),
    batchTokens: z.number().int(),
    microBatchTokens: z.number().int(),
    flashAttention: z.boolean(),
  }),
});

/** llama.cpp in process through node-llama-cpp's prebuilt binaries: the embedded default. */
export const engine: Engine = {
  id: 'llama-cpp',
  title: 'llama.cpp in process (node-llama-cpp)',
  modelFormat: 'gguf',
  environment: ENVIRONMENT,
  capabilities: {
    tokenIds: true,
    engineTimings: false,
    cachedTokenCount: true,
    logprobs: true,
    settings: LLAMA_SETTINGS,
  },
  burnsOnRequest: true,
  shipping,

  async detect(host): Promise<Detection> {
    return detectManaged(host.environments, ENVIRONMENT, (ready) => ({
      state: 'available',
      build: {
        version: `node-llama-cpp ${ready.packages['node-llama-cpp'] ?? '?'}`,
        library: null,
        openMp: null,
        instructionSets: null,
      },
      device: 'unknown',
      location: ready.root,
      variant: null,
      referenceBackend: null,
    }));
  },

  launchPlan(request) {
    return {
      command: process.execPath,
      args: [WORKER, request.engine.location],
      env: ENVIRONMENT_VARIABLES,
      channel: 'fd3',
    };
  },

  async connect(process, request, timeoutMs) {
    const info = await load(process, request, timeoutMs);
    return { info, generate: (ask) => generateInWorker(process, ask) };
  },
};

async function load(process: EngineProcess, request: LaunchRequest, timeoutMs: number): Promise<LoadedInfo> {
  const { modelPath, settings } = request;
  const answer = await process.request({ method: 'load', params: { modelPath, settings } }, timeoutMs);
  const reply = parseWorkerReply(loadReply, answer, 'load');
  // Apple silicon has a Metal build only; with no layer offloaded it computes on the CPU.
  const onCpu = reply.gpu === false || (settings.gpu === 'off' && reply.gpu === 'metal');
  if (settings.gpu === 'off' && !onCpu) {
    throw new AppError('engine-launch-failed', `llama-cpp was asked to stay on the CPU but uses ${String(reply.gpu)}`, {
      hint: 'Run without --gpu off, or report this.',
    });
  }
  const { openMp, instructionSets } = parseSystemInfo(reply.systemInfo);
  return {
    settings: { ...reply.settings, mmap: settings.mmap, gpu: settings.gpu, kvType: settings.kvType },
    build: {
      version: request.engine.build.version,
      library: `llama.cpp ${reply.libraryRelease}`,
      openMp,
      instructionSets,
      // The binding attaches none, and gives nobody its context's address to attach one.
      ...threadsWithoutPool(openMp),
    },
    device: onCpu
      ? 'cpu'
      : reply.gpu === 'metal' || reply.gpu === 'cuda' || reply.gpu === 'vulkan'
        ? reply.gpu
        : 'unknown',
    vocabularySize: reply.vocabularySize,
    modelName: null,
    engineLoadMs: reply.engineLoadMs,
    numericMode: onCpu ? 'int8 activations, f16 KV cache' : 'f16 KV cache',
  };
}
