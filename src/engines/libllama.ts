import { fileURLToPath } from 'node:url';
import type { Detection, Engine } from '../core/engine.ts';
import { shipping } from './facts/libllama.ts';
import { availableLibrary, connectLibrary, workerPlan } from './shared/llama-library.ts';
import { LLAMA_SETTINGS } from './shared/llama-settings.ts';
import { detectManaged } from './shared/managed-detection.ts';

/** It brings the library; of the package itself only the declarations are used. */
const ENVIRONMENT = 'llama-cpp-python';
const WORKER = fileURLToPath(new URL('./workers/libllama.py', import.meta.url));

/** llama.cpp in process with nothing around it: what every layer over it is compared with. */
export const engine: Engine = {
  id: 'libllama',
  title: "llama.cpp's C library, called directly (no layer)",
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
      availableLibrary(ready, `libllama of llama-cpp-python ${ready.packages['llama-cpp-python'] ?? '?'}`),
    );
  },

  launchPlan(request) {
    return workerPlan(request, WORKER);
  },

  connect: connectLibrary,
};
