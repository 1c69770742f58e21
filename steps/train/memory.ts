/** Reports the estimate of the memory that a training needs before its first step, with advice if it is too much. */

import { memoryLimit, StepError } from '../../engine/contract/step.ts';
import { bytesIn, type MemoryEstimate } from '../ml/runtime/training-memory.ts';

/** `shape`: of the largest part, such as "32 × 128 tokens". */
export function inWords(memory: MemoryEstimate, shape: string): string {
  const nonzero = Object.entries(memory).filter(([, bytes]) => bytes > 0);
  const words = { ...WORDS, activations: `activations of ${shape}` };
  const parts = nonzero.map(([what, bytes]) => `${words[what as keyof MemoryEstimate]} ${size(bytes)}`);
  return `memory: about ${size(bytesIn(memory))}: ${parts.join(', ')}`;
}

export function refuseTooMuch(memory: MemoryEstimate, shape: string, limit = memoryLimit()): void {
  if (bytesIn(memory) < limit) return;
  throw new StepError(`this training needs more memory than the ${size(limit)} available. ${inWords(memory, shape)}`, LOWER, [
    'batch_size',
  ]);
}

/** Translates an out-of-memory error of any library; returns any other error unchanged. */
export function explainMemory(error: unknown, shape: string): unknown {
  const text = error instanceof Error ? error.message : String(error);
  if (!NO_MEMORY.test(text)) return error;
  return new StepError(`out of memory, with batches of up to ${shape}: ${text.split('\n')[0]}`, LOWER, ['batch_size']);
}

const LOWER =
  'Lower `batch_size` and raise `gradient_accumulation_steps` by the same factor, so that each step still learns from as many sequences, or lower `max_length` of tokenize. `gradient_checkpointing` reduces the activations; `lora` or `optim: adafactor` reduce the optimizer state.';

/** Messages of onnxruntime, C++, V8 and WebAssembly, TensorFlow and CUDA. */
const NO_MEMORY =
  /allocat\w* (memory|failed)|failed to allocate|bad.?alloc|out of memory|\bOOM\b|memory allocation|Cannot allocate memory/i;

const WORDS = {
  weights: 'weights',
  gradients: 'gradients',
  moments: "the optimizer's state",
  best: 'the best weights',
  teacher: 'the teacher',
};

const size = (bytes: number): string => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
