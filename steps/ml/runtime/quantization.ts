/** How the weights of an ONNX model are stored, and the file names that transformers.js expects. */

/** The values of `quantize`. */
export const QUANTIZATIONS = ['int8', 'fp16'] as const;

export type Quantization = (typeof QUANTIZATIONS)[number];

/** The file in a bundle. */
export const ONNX_FILES: Record<Quantization | 'fp32', string> = {
  fp32: 'onnx/model.onnx',
  int8: 'onnx/model_quantized.onnx',
  fp16: 'onnx/model_fp16.onnx',
};

/** The names of transformers.js, for its option `dtype`. */
export const TRANSFORMERS_JS_DTYPE: Record<Quantization, string> = { int8: 'q8', fp16: 'fp16' };
