import { readFileSync } from 'node:fs';

/** A worker's answers to `load` and `generate`, recorded on 2026-11-25 with SmolLM2-135M-Instruct Q4_0, 2 threads, CPU. */
export function recordedWorker(id: string): { load: Record<string, unknown>; generate: Record<string, unknown> } {
  return JSON.parse(recordedText(`${id}.json`)) as { load: Record<string, unknown>; generate: Record<string, unknown> };
}

export function recordedText(name: string): string {
  return readFileSync(new URL(`./recorded/${name}`, import.meta.url), 'utf8');
}
