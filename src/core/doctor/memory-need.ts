/** How much memory a GGUF model takes in llama.cpp, estimated from its header alone. */

/** Sizes of a transformer, as its header states them. */
export interface ModelShape {
  readonly architecture: string;
  /** Bytes of all tensors. */
  readonly weightBytes: number;
  readonly layers: number;
  readonly embedding: number;
  readonly feedForward: number;
  readonly vocabulary: number;
  /** Key and value heads of each layer; 0 for a layer without attention. Null: the header does not tell. */
  readonly kvHeads: readonly number[] | null;
  /** Values of one key and of one value head. */
  readonly keyLength: number;
  readonly valueLength: number;
  /** Some layers keep less than all that: they look back through a window, compress it, or keep a fixed state. */
  readonly kvIsUpperBound: boolean;
}

export type KvType = 'f16' | 'f32' | 'q8_0';

/** ggml: a q8_0 block holds 32 values in 34 bytes. */
export const KV_VALUE_BYTES: Readonly<Record<KvType, number>> = { f16: 2, f32: 4, q8_0: 34 / 32 };
/** llama.cpp rounds the context up to this. https://github.com/ggml-org/llama.cpp/blob/master/src/llama-context.cpp (2026-11-25) */
const CONTEXT_STEP_TOKENS = 256;
const F32_BYTES = 4;
/** The attention mask, as f32 input and as the f16 copy for flash attention: bytes per context and batch token. */
const MASK_BYTES = 6;
/**
 * The program itself, its tables and allocator slack. With it the estimate for SmolLM2-135M Q4_0 and 768 tokens is
 * 362 MB; measured peaks were 363 MB for llama-cpp and 239 MB for llama-server (Linux x64, 2026-11-25).
 */
const PROGRAM_BYTES = 150e6;
/** Architectures whose state does not grow with the context. */
const RECURRENT = /^(mamba|rwkv)/;

export interface MemorySettings {
  readonly contextTokens: number;
  readonly microBatchTokens: number;
  readonly kvType: KvType;
}

/** In bytes. */
export interface MemoryNeed {
  readonly weights: number;
  readonly kvCache: number;
  readonly compute: number;
  readonly program: number;
  readonly total: number;
  /** The KV cache is at most this: windowed or linear layers take less. */
  readonly isUpperBound: boolean;
}

/**
 * Bytes of KV cache per token of context; null where the header does not tell.
 * Every layer keeps one key and one value for each of its key-value heads:
 * https://github.com/ggml-org/llama.cpp/blob/master/src/llama-kv-cache.cpp (2026-11-25)
 */
export function kvBytesPerToken(shape: ModelShape, kvType: KvType): number | null {
  if (RECURRENT.test(shape.architecture)) return 0;
  if (shape.kvHeads === null) return null;
  const heads = shape.kvHeads.reduce((sum, count) => sum + count, 0);
  return heads * (shape.keyLength + shape.valueLength) * KV_VALUE_BYTES[kvType];
}

/**
 * Weights count once: where an engine keeps a repacked copy, the pages of the file behind it can be dropped.
 * @returns null where the header does not tell enough
 */
export function memoryNeed(shape: ModelShape, settings: MemorySettings): MemoryNeed | null {
  const perToken = kvBytesPerToken(shape, settings.kvType);
  if (perToken === null) return null;
  const context = Math.ceil(settings.contextTokens / CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS;
  const parts = {
    weights: shape.weightBytes,
    kvCache: Math.ceil(perToken * context),
    compute: fixedComputeBytes(shape, settings) + MASK_BYTES * settings.microBatchTokens * context,
    program: PROGRAM_BYTES,
  };
  const total = parts.weights + parts.kvCache + parts.compute + parts.program;
  return { ...parts, total, isUpperBound: shape.kvIsUpperBound };
}

/**
 * The largest context of this model that fits, in steps of 256 tokens; 0 where not even the weights do.
 * @returns null where the header does not tell enough
 */
export function largestContext(
  shape: ModelShape,
  limits: { readonly availableBytes: number; readonly contextTokensMax: number },
  settings: Omit<MemorySettings, 'contextTokens'>,
): number | null {
  const perToken = kvBytesPerToken(shape, settings.kvType);
  if (perToken === null) return null;
  const fixed = shape.weightBytes + fixedComputeBytes(shape, settings) + PROGRAM_BYTES;
  const each = perToken + MASK_BYTES * settings.microBatchTokens;
  const fitting = Math.floor((limits.availableBytes - fixed) / each / CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS;
  return Math.max(0, Math.min(fitting, limits.contextTokensMax));
}

/** One micro batch through the widest step: the logits of the vocabulary, or the feed-forward layer; and its input. */
function fixedComputeBytes(shape: ModelShape, { microBatchTokens }: Pick<MemorySettings, 'microBatchTokens'>): number {
  const widest = Math.max(shape.vocabulary, 2 * shape.feedForward);
  return F32_BYTES * microBatchTokens * (widest + shape.embedding);
}
