/** What a person wants to know about an MLX or Hugging Face folder before shipping it, from headers and texts alone. */
import { open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { TensorTypeShare } from '../gguf/summary.ts';
import { twinOfConfig } from '../gguf/twin-of-key.ts';
import { openFolderWeights } from '../weights/folder-weights.ts';
import type { WeightTensor } from '../weights/weights.ts';
import { readConfig, type ModelConfig } from './read-model.ts';

export interface FolderSummary {
  readonly name: string;
  readonly format: 'mlx' | 'safetensors';
  /** Of all weight files' tensors. */
  readonly weightBytes: number;
  /** `model_type`; `unknown` without a configuration. */
  readonly architecture: string;
  readonly parameterCount: number;
  readonly bitsPerWeight: number;
  /** How most parameters of the layers are held. */
  readonly quantisation: string;
  readonly tensorTypes: readonly TensorTypeShare[];
  readonly layerCount: number | null;
  /** 0 when the configuration does not tell. */
  readonly contextTokens: number;
  readonly vocabularySize: number;
  /** `tokenizer.json` or `tokenizer.model`; null without one. */
  readonly tokenizer: string | null;
  readonly hasChatTemplate: boolean;
  readonly license: string | null;
  readonly cacheBytesPerToken: number | null;
  /** Of whose shape the weights are random numbers; null for a real model. */
  readonly twinOf: string | null;
}

/** More layers than any model has; beyond it the number is damage. */
const LAYER_COUNT_MAX = 10_000;
const F16_BYTES = 2;
/** A model card's front matter is at its start. */
const CARD_BYTES = 8_192;
/** The chat template lies in it; templates reach 100 KB, lists of added tokens more. */
const TOKENIZER_CONFIG_BYTES_MAX = 16 << 20;

/** `path`: a folder, or one .safetensors file. Rejects as `openWeights` does. */
export async function summarizeFolder(path: string): Promise<FolderSummary> {
  const isFile = path.endsWith('.safetensors');
  const folder = isFile ? dirname(path) : path;
  const config = await readConfig(folder, isFile);
  const weights = await openFolderWeights(path);
  await weights.close();
  const { tensors } = weights;
  const valueCount = tensors.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const weightBytes = tensors.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  return {
    name: basename(path),
    format: weights.format === 'mlx' ? 'mlx' : 'safetensors',
    weightBytes,
    architecture: typeof config['model_type'] === 'string' ? config['model_type'] : 'unknown',
    parameterCount: valueCount,
    bitsPerWeight: valueCount === 0 ? 0 : (8 * weightBytes) / valueCount,
    quantisation: dominant(tensors),
    tensorTypes: shares(tensors),
    layerCount: countOf(config, 'num_hidden_layers', LAYER_COUNT_MAX),
    contextTokens: countOf(config, 'max_position_embeddings') ?? 0,
    vocabularySize: countOf(config, 'vocab_size') ?? 0,
    tokenizer: await tokenizerOf(folder),
    hasChatTemplate: await hasChatTemplate(folder),
    license: await licenseOf(folder),
    cacheBytesPerToken: cacheBytesPerToken(config),
    twinOf: twinOfConfig(config),
  };
}

function shares(tensors: readonly WeightTensor[]): TensorTypeShare[] {
  const found = new Map<string, TensorTypeShare>();
  for (const { storedAs: type, storedBytes } of tensors) {
    const { tensorCount, byteLength } = found.get(type) ?? { tensorCount: 0, byteLength: 0 };
    found.set(type, { type, tensorCount: tensorCount + 1, byteLength: byteLength + storedBytes });
  }
  return [...found.values()].toSorted((a, b) => b.byteLength - a.byteLength);
}

/** Embeddings are left out where there is anything else: they can outweigh a small model. */
function dominant(tensors: readonly WeightTensor[]): string {
  const matrices = tensors.filter(({ shape }) => shape.length > 1);
  const layers = matrices.filter(({ name }) => name.includes('.layers.'));
  const [first] = shares(layers.length > 0 ? layers : matrices);
  return first?.type ?? 'unknown';
}

function countOf(config: ModelConfig, key: string, max = Number.MAX_SAFE_INTEGER): number | null {
  const value = config[key];
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value <= max ? value : null;
}

/** Keys and values of every layer, an upper bound with a sliding window. */
function cacheBytesPerToken(config: ModelConfig): number | null {
  const layers = countOf(config, 'num_hidden_layers', LAYER_COUNT_MAX);
  const heads = countOf(config, 'num_attention_heads');
  const width = countOf(config, 'hidden_size');
  if (layers === null || heads === null || width === null) return null;
  const headSize = countOf(config, 'head_dim') ?? width / heads;
  const bytes = 2 * layers * (countOf(config, 'num_key_value_heads') ?? heads) * headSize * F16_BYTES;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

async function tokenizerOf(folder: string): Promise<string | null> {
  for (const name of ['tokenizer.json', 'tokenizer.model']) if (await isFile(join(folder, name))) return name;
  return null;
}

async function hasChatTemplate(folder: string): Promise<boolean> {
  for (const name of ['chat_template.jinja', 'chat_template.json']) if (await isFile(join(folder, name))) return true;
  return /"chat_template"\s*:\s*["[]/.test(
    await readStart(join(folder, 'tokenizer_config.json'), TOKENIZER_CONFIG_BYTES_MAX),
  );
}

/** `license:` in the front matter of the model card. */
async function licenseOf(folder: string): Promise<string | null> {
  const card = await readStart(join(folder, 'README.md'), CARD_BYTES);
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1] ?? '';
  return /^license:\s*["']?([\w.+-]{1,60})/m.exec(front)?.[1] ?? null;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
}

/** Empty where there is no such file. */
async function readStart(path: string, bytesMax: number): Promise<string> {
  const handle = (await isFile(path)) ? await open(path, 'r').catch(() => null) : null;
  if (handle === null) return '';
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.min(size, bytesMax));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
