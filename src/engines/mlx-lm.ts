import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Detection, Engine, EngineProcess, LaunchRequest, LoadedInfo } from '../core/engine.ts';
import { shipping } from './facts/mlx-lm.ts';
import { detectManaged } from './shared/managed-detection.ts';
import { generateInWorker, parseWorkerReply } from './shared/worker-session.ts';

const ENVIRONMENT = 'mlx-lm';
const WORKER = fileURLToPath(new URL('./workers/mlx-lm.py', import.meta.url));

const loadReply = z.object({
  engineLoadMs: z.number().nonnegative(),
  device: z.enum(['cpu', 'metal', 'cuda']),
  mlxVersion: z.string().max(100),
  mlxLmVersion: z.string().max(100),
  vocabularySize: z.number().int().nullable(),
  quantisation: z.string().max(200),
  dtype: z.string().max(100),
  settings: z.object({ batchTokens: z.number().int() }),
});

/** MLX through mlx-lm: Metal on a Mac; on Linux the CPU backend, which is a reference and not built for speed. */
export const engine: Engine = {
  id: 'mlx-lm',
  title: 'MLX (mlx-lm)',
  modelFormat: 'mlx',
  environment: ENVIRONMENT,
  capabilities: {
    tokenIds: true,
    engineTimings: false,
    cachedTokenCount: true,
    logprobs: true,
    settings: ['batchTokens', 'gpu'],
  },
  shipping,

  async detect(host): Promise<Detection> {
    return detectManaged(host.environments, ENVIRONMENT, (ready) => ({
      state: 'available',
      build: {
        version: `mlx-lm ${ready.packages['mlx-lm'] ?? '?'}`,
        library: `mlx ${ready.packages['mlx'] ?? '?'}`,
        openMp: null,
        instructionSets: null,
      },
      device: ready.packages['mlx-cpu'] === undefined ? 'unknown' : 'cpu',
      location: ready.runtime,
      variant: null,
      referenceBackend:
        ready.packages['mlx-cpu'] === undefined ? null : "MLX's CPU backend: one core, not built for speed",
    }));
  },

  launchPlan(request) {
    return {
      command: request.engine.location,
      // -I: isolated, so that neither PYTHON* variables nor a user's site-packages change the engine.
      args: ['-I', WORKER],
      // TF32 matrix units are on by default on newer Apple chips and change the values.
      env: { MLX_ENABLE_TF32: '0' },
      channel: 'stdout',
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
  return {
    settings: reply.settings,
    build: {
      version: `mlx-lm ${reply.mlxLmVersion}`,
      library: `mlx ${reply.mlxVersion}`,
      openMp: null,
      instructionSets: null,
    },
    device: reply.device,
    vocabularySize: reply.vocabularySize,
    modelName: null,
    engineLoadMs: reply.engineLoadMs,
    numericMode: `${reply.dtype} scales, norms and activations, ${reply.quantisation}`,
  };
}
