/** GGUF tensors under their Hugging Face names, shapes and row order. */
import { AppError } from '../../core/errors.ts';
import type { GgufHeader, GgufTensor } from '../gguf/read-header.ts';
import { readArchitecture, type Architecture } from './architecture.ts';
import type { Family } from './families.ts';

export interface MappedTensor {
  readonly source: GgufTensor;
  readonly name: string;
  /** Hugging Face's order: the last dimension is the contiguous one. */
  readonly shape: readonly number[];
  /** Rows as they lie in the file. A vector is one row, unless its elements are reordered like rows. */
  readonly rows: number;
  readonly rowBytes: number;
  /** Set where rows are interleaved by head: see `unpermuteRows`. */
  readonly permutedHeadRows: number | null;
  /** A norm that is stored as 1 + weight. */
  readonly holdsFactor: boolean;
}

const GLOBAL_NAMES: Readonly<Record<string, string>> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};

/** Derived from the configuration, no trained weights: becomes `rope_scaling`. */
export const ROPE_FREQUENCIES = 'rope_freqs.weight';
/** The same for Phi-3 with a long context. */
export const ROPE_FACTORS = ['rope_factors_long.weight', 'rope_factors_short.weight'] as const;
const DERIVED: ReadonlySet<string> = new Set([ROPE_FREQUENCIES, ...ROPE_FACTORS]);

export interface MappedModel {
  readonly architecture: Architecture;
  /** In the order of the file, rope_freqs left out. */
  readonly tensors: readonly MappedTensor[];
}

/** Rejects with `model-invalid` or `model-unsupported`. */
export function mapTensors(header: GgufHeader): MappedModel {
  const architecture = readArchitecture(header);
  const tensors = header.tensors
    .filter(({ name }) => !DERIVED.has(name))
    .map((tensor) => mapTensor(header.path, architecture, tensor));
  checkLayers(header, architecture, tensors);
  return { architecture, tensors };
}

function mapTensor(path: string, architecture: Architecture, source: GgufTensor): MappedTensor {
  const name = huggingFaceName(source.name, architecture.family);
  if (name === null) {
    throw new AppError(
      'model-unsupported',
      `${path}: the tensor ${source.name} is not part of a dense ${architecture.name} model as this program knows it.`,
      {
        hint: 'Engines that read GGUF can still run it.',
      },
    );
  }
  const shape = source.dimensions.toReversed();
  const headCount = permutedHeadCount(architecture, source.name);
  const holdsFactor = architecture.family.normsHoldFactor && name.endsWith('norm.weight');
  if (headCount === null) {
    const { rows, rowBytes } = source;
    return { source, name, shape, rows, rowBytes, permutedHeadRows: null, holdsFactor };
  }
  const rows = shape[0] as number;
  if (rows !== headCount * architecture.headSize) {
    throw new AppError(
      'model-invalid',
      `${path}: ${source.name} has ${rows} rows, ${headCount} heads of ${architecture.headSize} need ${headCount * architecture.headSize}.`,
      {
        hint: 'Download or convert the model again.',
      },
    );
  }
  return {
    source,
    name,
    shape,
    rows,
    rowBytes: source.byteLength / rows,
    permutedHeadRows: architecture.headSize,
    holdsFactor,
  };
}

/** `blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; null for anything unknown. */
export function huggingFaceName(ggufName: string, { layerNames }: Family): string | null {
  const match = /^(?:blk\.(\d{1,6})\.)?([a-z_]+)\.(weight|bias)$/.exec(ggufName);
  if (match === null) return null;
  const [, layer, part, kind] = match as unknown as [string, string | undefined, string, string];
  const names = layer === undefined ? GLOBAL_NAMES : layerNames;
  const name = Object.hasOwn(names, part) ? names[part] : undefined;
  if (name === undefined) return null;
  return layer === undefined ? `${name}.${kind}` : `model.layers.${Number(layer)}.${name}.${kind}`;
}

function permutedHeadCount(architecture: Architecture, ggufName: string): number | null {
  if (!architecture.family.permutesQueryAndKey) return null;
  if (/\.attn_q\.(weight|bias)$/.test(ggufName)) return architecture.headCount;
  if (/\.attn_k\.(weight|bias)$/.test(ggufName)) return architecture.keyValueHeadCount;
  return null;
}

/** A model that lacks a layer loads nowhere: better to say so than to convert it. */
function checkLayers(header: GgufHeader, { layerCount, family }: Architecture, tensors: readonly MappedTensor[]): void {
  const names = new Set(tensors.map(({ name }) => name));
  const missing = firstMissing(names, layerCount, family);
  if (missing === null) return;
  throw new AppError(
    'model-invalid',
    `${header.path}: the header announces ${layerCount} layers but ${missing} is missing.`,
    {
      hint: 'Download or convert the model again.',
    },
  );
}

/** One after the other: a damaged header announces billions of layers, of which the first is missing. */
function firstMissing(names: ReadonlySet<string>, layerCount: number, { neededParts }: Family): string | null {
  for (const name of ['model.embed_tokens.weight', 'model.norm.weight']) if (!names.has(name)) return name;
  for (let layer = 0; layer < layerCount; layer++) {
    const part = neededParts.find((needed) => !names.has(`model.layers.${layer}.${needed}.weight`));
    if (part !== undefined) return `model.layers.${layer}.${part}.weight`;
  }
  return null;
}

/**
 * Rows of whole heads from ggml's order to Hugging Face's: row h*H + i*H/2 + j of the result is row h*H + 2*j + i of the
 * source (H rows a head, i in {0, 1}). Quantised rows move whole, so codes and scales stay together.
 */
export function unpermuteRows(
  source: Uint8Array,
  target: Uint8Array,
  { rows, rowBytes, headRows }: { rows: number; rowBytes: number; headRows: number },
): void {
  const half = headRows / 2;
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows;
    const from = row - inHead + 2 * (inHead % half) + (inHead < half ? 0 : 1);
    target.set(source.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
}
