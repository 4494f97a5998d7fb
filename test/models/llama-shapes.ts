/** Names and shapes of a Llama's tensors in Hugging Face's checkpoints, output tied to the embeddings. */
export function llamaShapes({
  vocabulary,
  hidden,
  feed,
  layers,
  keyValue = hidden,
}: {
  readonly vocabulary: number;
  readonly hidden: number;
  readonly feed: number;
  readonly layers: number;
  /** Rows of the key and value projections. */
  readonly keyValue?: number;
}): Readonly<Record<string, readonly number[]>> {
  const shapes: Record<string, readonly number[]> = {
    'model.embed_tokens.weight': [vocabulary, hidden],
    'model.norm.weight': [hidden],
  };
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]): void => {
      shapes[`model.layers.${layer}.${name}.weight`] = shape;
    };
    for (const name of ['input_layernorm', 'post_attention_layernorm']) add(name, hidden);
    add('self_attn.q_proj', hidden, hidden);
    for (const name of ['k_proj', 'v_proj']) add(`self_attn.${name}`, keyValue, hidden);
    add('self_attn.o_proj', hidden, hidden);
    for (const name of ['gate_proj', 'up_proj']) add(`mlp.${name}`, feed, hidden);
    add('mlp.down_proj', hidden, feed);
  }
  return shapes;
}
