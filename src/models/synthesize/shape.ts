/** What a model's shape is: every number that decides which tensors it has and what an engine computes with them. */

export const TWIN_ARCHITECTURES = ['llama', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'smollm3'] as const;
/** As GGUF spells it (`general.architecture`). Mistral and SmolLM2 are `llama`. */
export type TwinArchitecture = (typeof TWIN_ARCHITECTURES)[number];

export type ShapeRopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  /** Low and high frequency factors are 1 and 4, as in every published model. */
  | { readonly type: 'llama3'; readonly factor: number; readonly originalContextTokens: number };

export interface ModelShape {
  readonly architecture: TwinArchitecture;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly feedForwardSize: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  /** Where the configuration names it; else hidden size / heads. The GGUF header repeats it only when it is named. */
  readonly namedHeadSize: number | null;
  readonly vocabularySize: number;
  readonly contextTokens: number;
  readonly normEpsilon: number;
  readonly ropeBase: number;
  readonly ropeScaling: ShapeRopeScaling | null;
  /** The embeddings serve as output matrix too: no `output.weight`. */
  readonly tiedEmbeddings: boolean;
  /** Tokens that a layer with a window sees; null where no layer has one. */
  readonly slidingWindow: number | null;
  /** Gemma 2 bends attention scores and logits below these. */
  readonly attentionSoftcap: number | null;
  readonly finalSoftcap: number | null;
}

export function headSizeOf({ namedHeadSize, hiddenSize, headCount }: ModelShape): number {
  return namedHeadSize ?? hiddenSize / headCount;
}
