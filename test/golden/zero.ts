/** Weights whose gradients are zero but for rounding, of which Adam makes steps of any size: neither proves anything. */
export const KEY_BIAS = /\.(key|k_lin)\.bias$/;

/** GPT-2 has the keys' bias amid those of queries and values. */
export const KEY_BIAS_WITHIN = /\.c_attn\.bias$/;

/** What adds the same to the logits of all tokens, of which softmax over the tokens takes no notice: the head's bias and the last norm's. */
export const SHIFT_OF_ALL =
  /^qa_outputs\.bias$|\.layer\.1\.output\.LayerNorm\.bias$|\.layer\.1\.output_layer_norm\.bias$|groups\.1\.albert_layers\.0\.full_layer_layer_norm\.bias$/;
