/** The program of a task: what it returns beside the logits, and the loss it is trained by. */
import { crossEntropy } from '../runtime/ops.ts';
import type { Program } from '../runtime/runtime.ts';
import type { tf } from '../runtime/tfjs.ts';
import type { Config, Family, Task } from './family.ts';

/** `logits` [B, labels], and where `labels` int32 [B] are given their mean cross-entropy, `loss`. */
export function programFor<C extends Config>(family: Family<C>, task: Task, config: C): Program {
  const head = family.heads[task];
  return (weights, inputs, dropout): Record<string, tf.Tensor> => {
    const logits = head.logits(config, weights, inputs, dropout);
    if (!inputs.labels) return { logits };
    return { loss: crossEntropy(logits, inputs.labels), logits };
  };
}
