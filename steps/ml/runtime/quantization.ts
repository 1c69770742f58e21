/** How the weights of an ONNX model are stored, and the file names that transformers.js expects. */

/** The values of `quantize`. */
export const QUANTIZATIONS = ['int8', 'fp16'] as const;

export type Quantization = (typeof QUANTIZATIONS)[number];

/** The ONNX files of a model: an encoder-decoder has two, every other model has `model`. */
export const ONNX_FILES = ['model', 'encoder_model', 'decoder_model_merged'] as const;

export type OnnxFile = (typeof ONNX_FILES)[number];

export type OnnxFiles = Partial<Record<OnnxFile, Uint8Array>>;

const SUFFIXES: Record<Quantization | 'fp32', string> = { fp32: '', int8: '_quantized', fp16: '_fp16' };

/** The path in a bundle. */
export const onnxPath = (type: Quantization | 'fp32', file: OnnxFile = 'model'): string => `onnx/${file}${SUFFIXES[type]}.onnx`;

/** The names of transformers.js, for its option `dtype`. */
export const TRANSFORMERS_JS_DTYPE: Record<Quantization, string> = { int8: 'q8', fp16: 'fp16' };
