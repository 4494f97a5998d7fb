/** The header of a model of 5 GB with a vocabulary as large as Llama 3's: the weights are a hole in the file. */
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { encodeMetadata, layoutGguf, type GgufTensorPlan } from '../../../src/models/gguf/write.ts';

const VOCABULARY = 128_256;
const MERGES = 280_147;
const HIDDEN = 3_072;
const LAYERS = 24;

export function largeGgufHeader(): { bytes: Uint8Array; byteLength: number } {
  const text = (value: string): GgufValue => ({ type: 'string', value });
  const count = (value: number): GgufValue => ({ type: 'u32', value });
  const tokens = Array.from({ length: VOCABULARY }, (_, i) => `Ġtoken${i.toString(36)}`);
  const merges = Array.from({ length: MERGES }, (_, i) => `Ġtok en${i.toString(36)}`);
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', text('llama')],
    ['general.name', text('Large Test')],
    ['general.license', text('llama3.2')],
    ['llama.block_count', count(LAYERS)],
    ['llama.context_length', count(131_072)],
    ['llama.embedding_length', count(HIDDEN)],
    ['llama.attention.head_count', count(24)],
    ['llama.attention.head_count_kv', count(8)],
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text('llama-bpe')],
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', items: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', items: tokens.map(() => 1) }],
    ['tokenizer.ggml.merges', { type: 'array', itemType: 'string', items: merges }],
  ]);
  const layout = layoutGguf(encodeMetadata(metadata), tensors());
  return { bytes: layout.header, byteLength: layout.totalBytes };
}

function tensors(): GgufTensorPlan[] {
  const matrix = (name: string, columns: number, rows: number): GgufTensorPlan => ({
    name,
    type: tensorTypeNamed('F16'),
    dimensions: [columns, rows],
  });
  const layers = Array.from({ length: LAYERS }, (_, layer) => [
    matrix(`blk.${layer}.attn_q.weight`, HIDDEN, HIDDEN),
    matrix(`blk.${layer}.attn_k.weight`, HIDDEN, 1_024),
    matrix(`blk.${layer}.attn_v.weight`, HIDDEN, 1_024),
    matrix(`blk.${layer}.attn_output.weight`, HIDDEN, HIDDEN),
    matrix(`blk.${layer}.ffn_gate.weight`, HIDDEN, 8_192),
    matrix(`blk.${layer}.ffn_up.weight`, HIDDEN, 8_192),
    matrix(`blk.${layer}.ffn_down.weight`, 8_192, HIDDEN),
  ]);
  return [matrix('token_embd.weight', HIDDEN, VOCABULARY), ...layers.flat()];
}
