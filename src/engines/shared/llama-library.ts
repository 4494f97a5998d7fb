/** What the engines share that run llama.cpp's library inside a Python worker of ours: launch and load. */
import { z } from 'zod';
import type {
  AvailableEngine,
  Device,
  EngineProcess,
  EngineSession,
  LaunchPlan,
  LaunchRequest,
  LoadedInfo,
} from '../../core/engine.ts';
import type { ReadyEnvironment } from './managed-detection.ts';
import { parseSystemInfo, threadsWithoutPool } from './llama-system-info.ts';
import { generateInWorker, parseWorkerReply } from './worker-session.ts';

/** Name of the compiled library among the environment's packages; its version is the commit. */
const LIBRARY = 'llama.cpp';

const loadReply = z.object({
  engineLoadMs: z.number().nonnegative(),
  systemInfo: z.string().max(10_000),
  /** Layers were offloaded: asked for, and the build can. */
  gpuLayers: z.boolean(),
  vocabularySize: z.int().positive(),
  settings: z.object({
    threads: z.int().positive(),
    batchThreads: z.int().positive(),
    contextTokens: z.int().positive(),
    batchTokens: z.int().positive(),
    microBatchTokens: z.int().positive(),
    flashAttention: z.boolean(),
    mmap: z.boolean(),
  }),
});

/** Pure: an engine of the compiled environment. `location` is its Python. */
export function availableLibrary({ packages, runtime }: ReadyEnvironment, version: string): AvailableEngine {
  return {
    state: 'available',
    build: { version, library: libraryOf(packages), openMp: null, instructionSets: null },
    device: 'unknown',
    location: runtime,
    variant: null,
    referenceBackend: null,
  };
}

function libraryOf(packages: Readonly<Record<string, string>>): string | null {
  const commit = packages[LIBRARY];
  return commit === undefined ? null : `${LIBRARY} ${commit}`;
}

/** Pure. -I: isolated, so that neither PYTHON* variables nor a user's site-packages change the engine. */
export function workerPlan(request: LaunchRequest, worker: string): LaunchPlan {
  return { command: request.engine.location, args: ['-I', worker], env: {}, channel: 'stdout' };
}

/**
 * Loads the model in the worker.
 * @throws AppError `engine-protocol` for an answer that is not readable, and what `request` throws
 */
export async function connectLibrary(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  const { modelPath, settings, engine } = request;
  const answer = await process.request({ method: 'load', params: { modelPath, settings } }, timeoutMs);
  const reply = parseWorkerReply(loadReply, answer, 'load');
  const { batchThreads, ...effective } = reply.settings;
  const features = parseSystemInfo(reply.systemInfo);
  const device = deviceOf(reply.gpuLayers, globalThis.process.platform);
  const info: LoadedInfo = {
    settings: {
      ...effective,
      // Prefill and decode have a number each; the one that is not as asked is the one to show.
      threads: batchThreads === settings.threads ? effective.threads : batchThreads,
      kvType: settings.kvType,
      gpu: settings.gpu,
    },
    // Neither our worker nor the package attaches a threadpool.
    build: { ...engine.build, ...features, ...threadsWithoutPool(features.openMp) },
    device,
    vocabularySize: reply.vocabularySize,
    modelName: null,
    engineLoadMs: reply.engineLoadMs,
    numericMode: device === 'cpu' ? `int8 activations, ${settings.kvType} KV cache` : `${settings.kvType} KV cache`,
  };
  return { info, generate: (ask) => generateInWorker(process, ask) };
}

/** Pure: the build has Metal on a Mac and no GPU backend elsewhere. */
function deviceOf(gpuLayers: boolean, platform: NodeJS.Platform): Device {
  if (!gpuLayers) return 'cpu';
  return platform === 'darwin' ? 'metal' : 'unknown';
}
