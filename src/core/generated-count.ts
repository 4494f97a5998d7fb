import type { Generation } from './engine.ts';

/** Tokens generated, also where the engine tells no ids. */
export function generatedCount({
  tokens,
  generatedTokenCount,
}: Pick<Generation, 'tokens' | 'generatedTokenCount'>): number {
  return generatedTokenCount ?? tokens.length;
}
