import { join } from 'node:path';

/** Pure: where the requantised demonstration model lies once a run or a setup has made it. */
export function demonstrationModel(cacheFolder: string): string {
  return join(cacheFolder, 'models', 'smollm2-135m-instruct-q4_0', 'SmolLM2-135M-Instruct.Q4_0.gguf');
}
