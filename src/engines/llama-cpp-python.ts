import { fileURLToPath } from 'node:url';
import type { Detection, Engine } from '../core/engine.ts';
import { shipping } from './facts/llama-cpp-python.ts';
import { availableLibrary, connectLibrary, workerPlan } from './shared/llama-library.ts';
import { LLAMA_SETTINGS } from './shared/llama-settings.ts';
import { detectManaged } from './shared/managed-detection.ts';

const ENVIRONMENT = 'llama-cpp-python';
const WORKER = fileURLToPath(new URL('./workers/llama-cpp-python.py', import.meta.url));

/** llama.cpp through the Python package that applications use, compiled on this machine. */
export const engine: Engine = {
  id: 'llama-cpp-python',
  title: 'llama.cpp in process (llama-cpp-python, compiled here)',
  modelFormat: 'gguf',
  environment: ENVIRONMENT,
  capabilities: {
    tokenIds: true,
    engineTimings: false,
    cachedTokenCount: true,
    logprobs: true,
    settings: LLAMA_SETTINGS,
  },
  shipping,

  async detect(host): Promise<Detection> {
    return detectManaged(host.environments, ENVIRONMENT, (ready) =>
      availableLibrary(ready, `llama-cpp-python ${ready.packages['llama-cpp-python'] ?? '?'}`),
    );
  },

  launchPlan(request) {
    return workerPlan(request, WORKER);
  },

  connect: connectLibrary,
};
