import type { EngineSettings } from '../../core/engine.ts';

/** What every adapter of llama.cpp can set: all of them. */
export const LLAMA_SETTINGS: readonly (keyof EngineSettings)[] = [
  'threads',
  'contextTokens',
  'batchTokens',
  'microBatchTokens',
  'kvType',
  'flashAttention',
  'mmap',
  'gpu',
];
