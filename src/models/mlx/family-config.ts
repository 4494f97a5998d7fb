/** The entries of config.json that only some architectures have, from a GGUF header. Defaults are llama.cpp's (src/models). */
import { AppError } from '../../core/errors.ts';
import { numberOf } from '../gguf/metadata.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import type { Architecture } from '../hugging-face/architecture.ts';

/** llama.cpp's sliding window of Gemma 2 where the header has none. */
const GEMMA2_WINDOW = 4_096;
/** One global layer after five local ones. */
const GEMMA3_PATTERN = 6;
const GEMMA3_LOCAL_BASE = 10_000;
/** Layers of the 27B models, whose attention is scaled by the width per head instead of the head's size. */
const GEMMA2_27B_LAYERS = 46;
const GEMMA3_27B_LAYERS = 62;
/** Every fourth layer of SmolLM3 has no rotary embedding. */
const SMOLLM3_NO_ROPE_INTERVAL = 4;

/** Rejects with `model-unsupported` where MLX's model would compute something else. */
export function familyConfig(header: GgufHeader, architecture: Architecture): Record<string, unknown> {
  const { metadata, path } = header;
  const { name } = architecture;
  const number = (key: string): number | null => numberOf(metadata, `${name}.${key}`);
  switch (name) {
    case 'smollm3':
      return { no_rope_layer_interval: SMOLLM3_NO_ROPE_INTERVAL };
    case 'gemma2':
      return {
        hidden_act: 'gelu_pytorch_tanh',
        hidden_activation: 'gelu_pytorch_tanh',
        query_pre_attn_scalar: attentionScalar(architecture, GEMMA2_27B_LAYERS),
        attn_logit_softcapping: number('attn_logit_softcapping') ?? 50,
        final_logit_softcapping: number('final_logit_softcapping') ?? 30,
        sliding_window: number('attention.sliding_window') ?? GEMMA2_WINDOW,
      };
    case 'gemma3': {
      if ((number('final_logit_softcapping') ?? 0) !== 0) throw refuse(path, 'a soft cap of the logits');
      const window = number('attention.sliding_window') ?? 0;
      return {
        hidden_act: 'gelu_pytorch_tanh',
        hidden_activation: 'gelu_pytorch_tanh',
        query_pre_attn_scalar: attentionScalar(architecture, GEMMA3_27B_LAYERS),
        rope_local_base_freq: number('rope.freq_base_swa') ?? GEMMA3_LOCAL_BASE,
        sliding_window: window === 0 ? architecture.contextTokens : window,
        sliding_window_pattern: window === 0 ? 1 : (number('attention.sliding_window_pattern') ?? GEMMA3_PATTERN),
      };
    }
    case 'phi3':
      return {
        partial_rotary_factor: architecture.rotarySize / architecture.headSize,
        original_max_position_embeddings: number('rope.scaling.original_context_length') ?? architecture.contextTokens,
      };
    default:
      return {};
  }
}

function attentionScalar({ layerCount, hiddenSize, headCount, headSize }: Architecture, layersOf27B: number): number {
  return layerCount === layersOf27B ? Math.floor(hiddenSize / headCount) : headSize;
}

function refuse(path: string, what: string): AppError {
  return new AppError('model-unsupported', `${path} has ${what}, which mlx-lm's model of it does not compute.`, {
    hint: 'Compare only engines that read GGUF for this model.',
  });
}
