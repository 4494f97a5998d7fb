/** The names that mlx_lm gives the tensors of a shape: those of Hugging Face. */
import { assert } from '../../core/assert.ts';
import { huggingFaceName } from '../hugging-face/tensor-map.ts';
import type { TwinArchitecture } from './shape.ts';

/** Gemma has four norms a layer, and the one before the feed-forward part has a name of its own. */
const GEMMA: Readonly<Record<string, string>> = {
  ffn_norm: 'pre_feedforward_layernorm',
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};
const PHI3: Readonly<Record<string, string>> = { attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' };

export function mlxName(architecture: TwinArchitecture, ggufName: string): string {
  const own = architecture.startsWith('gemma') ? GEMMA : architecture === 'phi3' ? PHI3 : {};
  const match = /^blk\.(\d+)\.([a-z_]+)\.weight$/.exec(ggufName);
  const special = own[match?.[2] ?? ''];
  if (special !== undefined) return `model.layers.${match?.[1]}.${special}.weight`;
  const name = huggingFaceName(ggufName);
  assert(name !== null, `${ggufName} has a name in Hugging Face's scheme`);
  return name;
}
