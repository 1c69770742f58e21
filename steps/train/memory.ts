/** Estimates the memory that a training needs. The estimate is reported before its first step, with advice if it is too much. */

import { memoryLimit, StepError } from '../../engine/step.ts';
import type { Model } from '../ml/models/model-folder.ts';
import { peakBytes, sizeOf } from '../ml/runtime/graph.ts';
import { ruleOf } from '../ml/runtime/optimizers.ts';
import type { HostTensors, TrainingOptions } from '../ml/runtime/runtime.ts';
import { specsOf, traceTraining } from '../ml/runtime/trace.ts';
import type { Teacher } from './teacher.ts';

/** In bytes. */
export interface MemoryEstimate {
  weights: number;
  gradients: number;
  /** The optimizer's moments. */
  moments: number;
  /** The activations of the largest part of a batch. */
  activations: number;
  /** A copy of the best weights so far. */
  best: number;
  /** The weights of a teacher, and its outputs for the whole batch. */
  teacher: number;
}

/** `largest`: inputs with the shape of the largest part of a batch; `parts`: the maximum number of parts; `teacher`: of a distillation. */
export function memoryOf(
  { program, weights }: Pick<Model, 'program' | 'weights'>,
  options: TrainingOptions,
  { largest, parts, keepsBest, teacher }: { largest: HostTensors; parts: number; keepsBest: boolean; teacher?: Teacher | undefined },
): MemoryEstimate {
  const trained = Object.keys(weights).filter((name) => options.weight(name));
  const rule = ruleOf(options.optimizer);
  const floats = (sizes: number[]) => 4 * sizes.reduce((sum, size) => sum + size, 0);
  const all = floats(Object.values(weights).map(({ data }) => data.length));
  const own = floats(trained.map((name) => weights[name]!.data.length));
  const moments = floats(trained.flatMap((name) => Object.values(rule.moments(weights[name]!.shape))));
  const taught = teacher?.withPlaces(largest) ?? largest;
  const { graph } = traceTraining(program, specsOf(weights), taught, {
    trained,
    padding: options.paddingRows ?? {},
    checkpointing: options.checkpointing,
  });
  const asking = teacher?.memory(largest);
  const outputs = floats(Object.entries(taught).flatMap(([name, { shape }]) => (name in largest ? [] : [sizeOf(shape)])));
  return {
    weights: all + own, // those that are trained are copied to where the optimizer has them
    gradients: parts > 1 ? 2 * own : own, // those of several parts are added up in arrays of their own
    moments,
    activations: Math.max(peakBytes(graph), asking?.activations ?? 0),
    best: keepsBest ? all : 0,
    teacher: asking ? asking.weights + parts * outputs : 0,
  };
}

/** `shape`: of the largest part, such as "32 × 128 tokens". */
export function inWords(memory: MemoryEstimate, shape: string): string {
  const nonzero = Object.entries(memory).filter(([, bytes]) => bytes > 0);
  const words = { ...WORDS, activations: `activations of ${shape}` };
  const parts = nonzero.map(([what, bytes]) => `${words[what as keyof MemoryEstimate]} ${size(bytes)}`);
  return `memory: about ${size(sumOf(memory))}: ${parts.join(', ')}`;
}

export function refuseTooMuch(memory: MemoryEstimate, shape: string, limit = memoryLimit()): void {
  if (sumOf(memory) < limit) return;
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

const sumOf = (memory: MemoryEstimate): number => Object.values(memory).reduce((sum, bytes) => sum + bytes, 0);

const size = (bytes: number): string => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
