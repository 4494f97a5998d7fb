/** llama-quantize's presets: which type each tensor of a dense model gets (llama.cpp, src/llama-quant.cpp, b11434). */
import { AppError } from '../../core/errors.ts';
import { tensorTypeNamed, type TensorType } from '../gguf/tensor-types.ts';

/** Name, `general.file_type` and the type that most tensors get. */
const ROWS = [
  ['F16', 1, 'F16'],
  ['BF16', 32, 'BF16'],
  ['Q8_0', 7, 'Q8_0'],
  ['Q4_0', 2, 'Q4_0'],
  // As published under names that end in _L: embeddings and output in Q8_0. MLX can hold all of it exactly.
  ['Q4_0_L', 2, 'Q4_0'],
  ['Q4_1', 3, 'Q4_1'],
  ['Q5_0', 8, 'Q5_0'],
  ['Q5_1', 9, 'Q5_1'],
  ['Q2_K', 10, 'Q2_K'],
  ['Q3_K_M', 12, 'Q3_K'],
  ['Q4_K_M', 15, 'Q4_K'],
  ['Q5_K_M', 17, 'Q5_K'],
  ['Q6_K', 18, 'Q6_K'],
] as const;

export type PresetName = (typeof ROWS)[number][0];

export interface Preset {
  readonly name: PresetName;
  readonly fileType: number;
  readonly base: TensorType;
}

const PRESETS: readonly Preset[] = ROWS.map(([name, fileType, base]) => ({
  name,
  fileType,
  base: tensorTypeNamed(base),
}));

/** What people mean by a bare number of bits. */
const SHORT_NAMES: Readonly<Record<string, PresetName>> = {
  Q2: 'Q2_K',
  Q3: 'Q3_K_M',
  Q4: 'Q4_K_M',
  Q5: 'Q5_K_M',
  Q6: 'Q6_K',
  Q8: 'Q8_0',
};

/** @throws AppError `usage` with the names there are */
export function presetNamed(text: string): Preset {
  const upper = text.trim().toUpperCase();
  const name = Object.hasOwn(SHORT_NAMES, upper) ? SHORT_NAMES[upper] : upper;
  const preset = PRESETS.find((candidate) => candidate.name === name);
  if (preset !== undefined) return preset;
  throw new AppError('usage', `"${text}" is not a quantisation that a twin can have`, {
    hint: `One of ${PRESETS.map((entry) => entry.name).join(', ')}; q2 to q8 stand for the usual one of that width.`,
  });
}

export interface MixModel {
  readonly layerCount: number;
  /** Query heads per key-value head. */
  readonly groupedHeads: number;
  /** No output matrix of its own. */
  readonly tiedEmbeddings: boolean;
}

/** Type of a tensor; F32 for what is never quantised. */
export function typeInPreset(
  { name, dimensions }: { readonly name: string; readonly dimensions: readonly number[] },
  { preset, model }: { readonly preset: Preset; readonly model: MixModel },
): TensorType {
  const stays = dimensions.length < 2 || !name.endsWith('weight') || name.includes('_norm.weight');
  if (stays) return tensorTypeNamed('F32');
  const columns = dimensions[0] as number;
  if (preset.name === 'F16' || preset.name === 'BF16') return preset.base;
  return fallback(chosen(name, columns, preset, model), columns);
}

function chosen(name: string, columns: number, preset: Preset, model: MixModel): TensorType {
  const isOutput = name === 'output.weight' || (model.tiedEmbeddings && name === 'token_embd.weight');
  if (preset.name === 'Q4_0_L' && (isOutput || name === 'token_embd.weight')) return tensorTypeNamed('Q8_0');
  if (isOutput) {
    const isCoarse = preset.base.name !== 'Q8_0' && columns % preset.base.blockValues === 0;
    return tensorTypeNamed(isCoarse ? 'Q6_K' : 'Q8_0');
  }
  const match = /^blk\.(\d+)\.([a-z_]+)\.weight$/.exec(name);
  const part = match?.[2] ?? '';
  const special = mixed(part, Number(match?.[1] ?? 0), preset.name, model) ?? preset.base.name;
  // In the 70B models eight heads share a value matrix: it is small, and gets more bits.
  const is70B = model.layerCount === 80 && model.groupedHeads > 1;
  if (is70B && part === 'attn_v' && (special === 'Q3_K' || special === 'Q4_K')) return tensorTypeNamed('Q5_K');
  return tensorTypeNamed(special);
}

/** The sensitive matrices of the mixtures; null for those that get the preset's own type. */
function mixed(part: string, layer: number, preset: PresetName, model: MixModel): string | null {
  const { layerCount, groupedHeads } = model;
  const eighth = Math.floor(layerCount / 8);
  const more = layer < eighth || layer >= Math.floor((7 * layerCount) / 8) || (layer - eighth) % 3 === 2;
  const isValue = part === 'attn_v' || part === 'attn_qkv';
  switch (preset) {
    case 'Q2_K':
      if (isValue) return groupedHeads >= 4 ? 'Q4_K' : 'Q3_K';
      return part === 'ffn_down' || part === 'attn_output' ? 'Q3_K' : null;
    case 'Q3_K_M':
      if (isValue) return layer < 2 ? 'Q5_K' : 'Q4_K';
      if (part === 'ffn_down') return layer < Math.floor(layerCount / 16) ? 'Q5_K' : 'Q4_K';
      return part === 'attn_output' ? 'Q4_K' : null;
    case 'Q4_K_M':
    case 'Q5_K_M':
      return (isValue || part === 'ffn_down') && more ? 'Q6_K' : null;
    default:
      return null;
  }
}

/** A row that its block does not divide gets a type of 32 values a block; one that is odd even for that, F16. */
const FALLBACKS: Readonly<Record<string, string>> = {
  Q2_K: 'Q4_0',
  Q3_K: 'Q4_0',
  Q4_K: 'Q5_0',
  Q5_K: 'Q5_1',
  Q6_K: 'Q8_0',
};

function fallback(type: TensorType, columns: number): TensorType {
  if (columns % type.blockValues === 0) return type;
  const other = tensorTypeNamed(FALLBACKS[type.name] ?? 'F16');
  return columns % other.blockValues === 0 ? other : tensorTypeNamed('F16');
}
