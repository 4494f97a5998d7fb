/**
 * What `--quant` means: the file type and the type of each tensor, as llama.cpp's converter (F32 to Q8_0) and llama-quantize
 * (the others) choose them for dense models: src/llama-quant.cpp, llama_tensor_get_type.
 */
import { tensorTypeNamed, type TensorType } from '../gguf/tensor-types.ts';

/** File types of llama.cpp (LLAMA_FTYPE_*). */
const FILE_TYPES = {
  F32: 0,
  F16: 1,
  BF16: 32,
  Q8_0: 7,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K_M: 12,
  Q4_K_M: 15,
  Q5_K_M: 17,
  Q6_K: 18,
} as const;

export type QuantName = keyof typeof FILE_TYPES;

export const QUANT_NAMES = Object.keys(FILE_TYPES) as readonly QuantName[];

export function fileTypeOf(quant: QuantName): number {
  return FILE_TYPES[quant];
}

/** File types for the type of most values, where no recipe names one; the plain K-quants are called small. */
const TENSOR_FILE_TYPES: Readonly<Record<string, number>> = {
  ...FILE_TYPES,
  Q4_K: 14,
  Q5_K: 16,
  IQ4_NL: 25,
  IQ4_XS: 30,
  TQ2_0: 37,
  MXFP4: 38,
};

/** The file type of a mixture that somebody else made: that of most values in matrices. */
export function commonFileType(
  tensors: readonly { readonly dimensions: readonly number[]; readonly exactType: TensorType }[],
): number {
  const values = new Map<string, number>();
  for (const { dimensions, exactType } of tensors) {
    const count = dimensions.length < 2 ? 0 : dimensions.reduce((product, size) => product * size, 1);
    values.set(exactType.name, (values.get(exactType.name) ?? 0) + count);
  }
  const [commonest] = [...values].sort(([, a], [, b]) => b - a);
  return TENSOR_FILE_TYPES[commonest?.[0] ?? 'F32'] ?? FILE_TYPES.F32;
}

/** What the converter writes itself; the rest is quantised by ggml. */
export function isConverterType(quant: QuantName): boolean {
  return quant === 'F32' || quant === 'F16' || quant === 'BF16' || quant === 'Q8_0';
}

export interface RecipeTensor {
  readonly name: string;
  /** ggml's order. */
  readonly dimensions: readonly number[];
  /** What it stays where it is not quantised: F32 from safetensors, its own type from a GGUF. */
  readonly keptType: TensorType;
}

export interface RecipeModel {
  readonly architecture: string;
  readonly layerCount: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  readonly hasImportance: boolean;
}

/** Types in the order of `tensors`. */
export function chooseTypes(quant: QuantName, model: RecipeModel, tensors: readonly RecipeTensor[]): TensorType[] {
  return isConverterType(quant)
    ? tensors.map((tensor) => converterType(quant, tensor))
    : new Mixture(quant, model, tensors).types(tensors);
}

/** Vectors, norms and biases are kept; a row that the block does not divide becomes F16. */
function converterType(quant: QuantName, { name, dimensions, keptType }: RecipeTensor): TensorType {
  if (isKept({ name, dimensions })) return keptType;
  const type = tensorTypeNamed(quant);
  return (dimensions[0] as number) % type.blockValues === 0 ? type : tensorTypeNamed('F16');
}

export function isKept({ name, dimensions }: Pick<RecipeTensor, 'name' | 'dimensions'>): boolean {
  return dimensions.length < 2 || name.endsWith('_norm.weight') || !name.endsWith('.weight');
}

const BASE_TYPES: Partial<Record<QuantName, string>> = { Q3_K_M: 'Q3_K', Q4_K_M: 'Q4_K', Q5_K_M: 'Q5_K' };

/** Types of 256 values a block and what takes their place in rows that 256 does not divide. */
const FALLBACKS: Readonly<Record<string, string>> = {
  Q2_K: 'Q4_0',
  Q3_K: 'Q4_0',
  Q4_K: 'Q5_0',
  Q5_K: 'Q5_1',
  Q6_K: 'Q8_0',
};

/** One pass in llama.cpp's order: its counters decide which layers get more bits. */
class Mixture {
  readonly #quant: QuantName;
  readonly #model: RecipeModel;
  readonly #isTied: boolean;
  readonly #valueCount: number;
  #valueIndex = 0;
  #downIndex = 0;

  constructor(quant: QuantName, model: RecipeModel, tensors: readonly RecipeTensor[]) {
    this.#quant = quant;
    this.#model = model;
    this.#isTied = !tensors.some(({ name }) => name === 'output.weight');
    this.#valueCount = tensors.filter(({ name }) => isValue(name)).length;
  }

  types(tensors: readonly RecipeTensor[]): TensorType[] {
    const chosen = new Map<string, TensorType>();
    for (const tensor of tensors.toSorted((a, b) => compareNames(a.name, b.name)))
      chosen.set(tensor.name, this.#typeOf(tensor));
    return tensors.map(({ name }) => chosen.get(name) as TensorType);
  }

  #typeOf(tensor: RecipeTensor): TensorType {
    if (isKept(tensor)) return tensor.keptType;
    const wanted = tensorTypeNamed(this.#mixed(tensor));
    const columns = tensor.dimensions[0] as number;
    if (columns % wanted.blockValues === 0) return wanted;
    const fallback = tensorTypeNamed(FALLBACKS[wanted.name] ?? wanted.name);
    return columns % fallback.blockValues === 0 ? fallback : tensorTypeNamed('F16');
  }

  #mixed({ name, dimensions }: RecipeTensor): string {
    const base = BASE_TYPES[this.#quant] ?? this.#quant;
    if (name === 'output.weight' || (this.#isTied && name === 'token_embd.weight'))
      return (dimensions[0] as number) % tensorTypeNamed(base).blockValues === 0 ? 'Q6_K' : 'Q8_0';
    if (isValue(name)) return this.#valueType(base);
    if (name.includes('ffn_down')) return this.#downType(base);
    if (name.includes('attn_output.weight')) {
      if (this.#quant === 'Q2_K') return 'Q3_K';
      if (this.#quant === 'Q3_K_M') return 'Q4_K';
    }
    return base;
  }

  #valueType(base: string): string {
    const index = this.#valueIndex++;
    const groups = this.#model.headCount / this.#model.keyValueHeadCount;
    let type = base;
    if (this.#quant === 'Q2_K') type = groups >= 4 ? 'Q4_K' : 'Q3_K';
    else if (this.#quant === 'Q3_K_M') type = index < 2 ? 'Q5_K' : 'Q4_K';
    else if (hasMoreBits(this.#quant) && getsMoreBits(index, this.#valueCount)) type = 'Q6_K';
    // What llama.cpp recognises as a 70B: eight heads share these rows, so better ones cost little.
    if (this.#isSeventyB() && (type === 'Q3_K' || type === 'Q4_K')) return 'Q5_K';
    return type;
  }

  #downType(base: string): string {
    const index = this.#downIndex++;
    const { layerCount, hasImportance } = this.#model;
    switch (this.#quant) {
      case 'Q2_K':
        return 'Q3_K';
      case 'Q3_K_M':
        return index < Math.trunc(layerCount / 16) ? 'Q5_K' : 'Q4_K';
      case 'Q4_K_M':
      case 'Q5_K_M':
        return getsMoreBits(index, layerCount) ? 'Q6_K' : base;
      case 'Q4_0':
      case 'Q5_0': {
        const isGuarded = hasImportance && index < Math.trunc(layerCount / 8);
        return isGuarded ? (this.#quant === 'Q4_0' ? 'Q4_1' : 'Q5_1') : base;
      }
      default:
        return base;
    }
  }

  #isSeventyB(): boolean {
    const { architecture, layerCount, headCount, keyValueHeadCount } = this.#model;
    if (layerCount !== 80) return false;
    return architecture === 'qwen2' || (architecture === 'llama' && headCount !== keyValueHeadCount);
  }
}

function isValue(name: string): boolean {
  return name.includes('attn_v.weight') || name.includes('attn_qkv.weight');
}

function hasMoreBits(quant: QuantName): boolean {
  return quant === 'Q4_K_M' || quant === 'Q5_K_M';
}

/** The first and the last eighth, and every third layer between. */
function getsMoreBits(index: number, count: number): boolean {
  const eighth = Math.trunc(count / 8);
  return index < eighth || index >= Math.trunc((7 * count) / 8) || (index - eighth) % 3 === 2;
}

/** llama-quantize's order: what belongs to no layer first, then by layer; by name within. */
export function compareNames(a: string, b: string): number {
  return layerOf(a) - layerOf(b) || (a < b ? -1 : a > b ? 1 : 0);
}

function layerOf(name: string): number {
  return Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
}
