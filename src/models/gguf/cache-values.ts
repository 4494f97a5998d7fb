/** What a transformer keeps of every token, from its header. */
import { numberOf, numbersOf, type GgufMetadata } from './metadata.ts';

/** More layers than any model has; beyond it the number is damage. */
export const LAYER_COUNT_MAX = 10_000;

/** Keys and values of every layer. Recurrent models (ssm, wkv) and compressed caches (kv_lora_rank) are not of this kind. */
export function cacheValuesPerToken(metadata: GgufMetadata, architecture: string): number | null {
  const key = (name: string): string => `${architecture}.${name}`;
  const otherState = ['ssm.state_size', 'wkv.head_size', 'attention.kv_lora_rank'].some((name) =>
    metadata.has(key(name)),
  );
  const layers = countOf(metadata, key('block_count'));
  const heads = firstCount(metadata, key('attention.head_count'));
  const width = countOf(metadata, key('embedding_length'));
  if (otherState || layers === null || layers > LAYER_COUNT_MAX || heads === null || width === null) return null;
  const keyLength = countOf(metadata, key('attention.key_length')) ?? width / heads;
  const valueLength = countOf(metadata, key('attention.value_length')) ?? width / heads;
  const perLayer = numbersOf(metadata, key('attention.head_count_kv'));
  const cacheHeads =
    perLayer === null
      ? (countOf(metadata, key('attention.head_count_kv')) ?? heads) * layers
      : Array.from(perLayer).reduce((sum, count) => sum + count, 0);
  const values = cacheHeads * (keyLength + valueLength);
  return Number.isSafeInteger(values) && values > 0 ? values : null;
}

/** A positive whole number; null without one. */
export function countOf(metadata: GgufMetadata, key: string): number | null {
  const value = numberOf(metadata, key);
  return value !== null && Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** Some models store one head count per layer. */
function firstCount(metadata: GgufMetadata, key: string): number | null {
  const list = numbersOf(metadata, key);
  return list === null ? countOf(metadata, key) : (Array.from(list).find((count) => count > 0) ?? null);
}
