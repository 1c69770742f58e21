/**
 * Exports a trained model as an ONNX file, with the inputs and outputs that ONNX tools expect of a Hugging Face
 * model.
 */

import { exportOnnx } from '../runtime/onnx/export.ts';
import type { Model } from './checkpoint.ts';

/**
 * Inputs int64 [batch, sequence]; outputs float32, `logits` or, for question-answering, `start_logits` and
 * `end_logits`.
 */
export function modelOnnx({ program, weights, task }: Pick<Model, 'program' | 'weights' | 'task'>): Uint8Array {
  const axes = ['batch', 'sequence'];
  const outputs = task === 'question-answering' ? ['start_logits', 'end_logits'] : ['logits'];
  return exportOnnx(program, weights, { inputs: { input_ids: axes, attention_mask: axes, token_type_ids: axes }, outputs });
}
