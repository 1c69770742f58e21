/** A trained model as an ONNX file, with the inputs and the output that the tools around ONNX expect of a Hugging Face model. */
import { exportOnnx } from '../runtime/export.ts';
import type { Model } from './checkpoint.ts';

export function modelOnnx({ program, weights }: Pick<Model, 'program' | 'weights'>): Uint8Array {
  const axes = ['batch', 'sequence'];
  return exportOnnx(program, weights, { inputs: { input_ids: axes, attention_mask: axes, token_type_ids: axes }, outputs: ['logits'] });
}
