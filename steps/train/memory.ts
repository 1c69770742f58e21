/** How much memory a training takes, said before its first step, and what to do where it is too much. */
import { totalmem } from 'node:os';
import { StepError } from '../../engine/step.ts';
import { peakBytes } from '../runtime/graph.ts';
import type { HostTensors, Program, Training, TrainingOptions } from '../runtime/runtime.ts';
import { traceTraining } from '../runtime/trace.ts';

/** In bytes. */
export interface Memory {
  weights: number;
  gradients: number;
  moments: number;
  /** What lies between inputs and gradients of the largest part of a batch. */
  activations: number;
  /** Of the best weights so far. */
  best: number;
}

/** `largest`: inputs of the shape of the largest part of a batch; `parts`: how many a batch has at most. */
export function memoryOf(
  program: Program,
  training: Training,
  options: TrainingOptions,
  { largest, parts, keepsBest }: { largest: HostTensors; parts: number; keepsBest: boolean },
): Memory {
  const tensors = training.weights();
  const trained = Object.keys(tensors).filter((name) => options.weight(name));
  const floats = (arrays: { length: number }[]) => 4 * arrays.reduce((sum, { length }) => sum + length, 0);
  const weights = floats(Object.values(tensors).map(({ data }) => data));
  // Those of several parts are added up in arrays of their own.
  const gradients = floats(trained.map((name) => tensors[name]!.data)) * (parts > 1 ? 2 : 1);
  const moments = floats(Object.values(training.optimizerState().slots).flatMap((slot) => Object.values(slot)));
  const specs = Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const { graph } = traceTraining(program, specs, largest, { trained, padding: options.paddingRows ?? {}, free: false });
  return { weights, gradients, moments, activations: peakBytes(graph), best: keepsBest ? weights : 0 };
}

/** `shape`: of the largest part, as in "32 × 128 tokens". */
export function inWords(memory: Memory, shape: string): string {
  const told = Object.entries(memory).filter(([, bytes]) => bytes > 0);
  const parts = told.map(([what, bytes]) => `${WORDS[what as keyof Memory](shape)} ${size(bytes)}`);
  return `memory: about ${size(sumOf(memory))}: ${parts.join(', ')}`;
}

/** The machine's, or what its container may use. */
export function memoryLimit(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

/** An estimate errs, so it is refused only where not even most of it would fit. */
export function refuseTooMuch(memory: Memory, shape: string, limit = memoryLimit()): void {
  if (sumOf(memory) < limit) return;
  throw new StepError(`this training needs more memory than the ${size(limit)} there are. ${inWords(memory, shape)}`, LOWER, [
    'batch_size',
  ]);
}

/** A failure to get memory, from whichever library, in words; any other error as it is. */
export function explainMemory(error: unknown, shape: string): unknown {
  const text = error instanceof Error ? error.message : String(error);
  if (!NO_MEMORY.test(text)) return error;
  return new StepError(`out of memory in a step of ${shape}: ${text.split('\n')[0]}`, LOWER, ['batch_size']);
}

const LOWER =
  'Lower batch_size (with as much more gradient_accumulation_steps the result is the same), or the max_length of tokenize; lora or optim adafactor need less for the optimizer.';

/** onnxruntime, C++, V8 and WebAssembly, TensorFlow and CUDA. */
const NO_MEMORY =
  /allocat\w* (memory|failed)|failed to allocate|bad.?alloc|out of memory|\bOOM\b|memory allocation|Cannot allocate memory/i;

const WORDS: Record<keyof Memory, (shape: string) => string> = {
  weights: () => 'weights',
  gradients: () => 'gradients',
  moments: () => "the optimizer's state",
  activations: (shape) => `activations of ${shape}`,
  best: () => 'the best weights',
};

const sumOf = (memory: Memory): number => Object.values(memory).reduce((sum, bytes) => sum + bytes, 0);

const size = (bytes: number): string => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
