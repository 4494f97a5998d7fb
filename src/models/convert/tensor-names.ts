/** Hugging Face tensor names to GGUF's. */
import { AppError } from '../../core/errors.ts';
import type { ModelConfig } from './model-config.ts';

const GLOBAL_NAMES: Readonly<Record<string, string>> = {
  embed_tokens: 'token_embd',
  norm: 'output_norm',
};

/** Parts of a multimodal model beside its language model: they go into a file of their own, which is not written here. */
const OTHER_PARTS = /vision|visual\.|audio|projector\.|patch_embed|image_newline/;

/** Null: the tensor is left out. @throws AppError `model-unsupported` for a name that nobody knows */
export function ggufNameOf(name: string, { family, layerCount, className }: ModelConfig, path: string): string | null {
  if (OTHER_PARTS.test(name) || name.endsWith('.rotary_emb.inv_freq')) return null;
  const plain = name.replace('language_model.', '');
  const suffix = /\.(weight|bias)$/.exec(plain)?.[0] ?? '';
  const stem = plain.slice(0, plain.length - suffix.length);
  if (stem === 'lm_head' && suffix !== '') return family.dropsOutput ? null : `output${suffix}`;
  const match = /^model\.(?:layers\.(\d{1,6})\.)?([a-z_.]+)$/.exec(stem);
  const layer = match?.[1];
  const part = match?.[2] ?? '';
  const names = layer === undefined ? GLOBAL_NAMES : family.layerNames;
  const mapped = Object.hasOwn(names, part) ? names[part] : undefined;
  if (mapped === undefined || suffix === '' || (layer !== undefined && Number(layer) >= layerCount)) {
    throw new AppError(
      'model-unsupported',
      `${path}: the tensor ${name} is not part of a ${className} of ${layerCount} layers as this program knows it.`,
      { hint: 'Use llama.cpp’s convert_hf_to_gguf.py for this model.' },
    );
  }
  return layer === undefined ? `${mapped}${suffix}` : `blk.${Number(layer)}.${mapped}${suffix}`;
}

/** Every matrix that llama.cpp needs: a model that lacks one loads nowhere. */
export function missingTensor(names: ReadonlySet<string>, { family, layerCount }: ModelConfig): string | null {
  const parts = Object.values(family.layerNames);
  const needed = ['token_embd.weight', 'output_norm.weight'];
  for (let layer = 0; layer < layerCount; layer++) needed.push(...parts.map((part) => `blk.${layer}.${part}.weight`));
  return needed.find((name) => !names.has(name)) ?? null;
}
