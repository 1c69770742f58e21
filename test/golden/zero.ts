/**
 * Weights whose gradients are zero except for rounding, from which Adam makes steps of any size: comparing them
 * proves nothing.
 */
export const KEY_BIAS = /\.(key|k_lin)\.bias$/;

/** GPT-2 stores the bias of the keys between those of queries and values. */
export const KEY_BIAS_WITHIN = /\.c_attn\.bias$/;

/**
 * Weights that add the same to the logits of all tokens, which softmax over the tokens ignores: the head's bias and
 * the last norm's.
 */
export const SHIFT_OF_ALL =
  /^(?:qa_outputs|classifier|head\.norm)\.bias$|\.layer\.1\.output\.LayerNorm\.bias$|\.layer\.1\.output_layer_norm\.bias$|groups\.1\.albert_layers\.0\.full_layer_layer_norm\.bias$/;
