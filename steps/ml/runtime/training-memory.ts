/** Estimates the memory that a training needs, from the shapes of its weights and of the largest part of a batch. */

import { type Graph, peakBytes, sizeOf } from './graph.ts';
import { ruleOf } from './optimizers.ts';
import type { HostTensors, Program, TrainingOptions } from './runtime.ts';
import { type Specs, specsOf, traceTraining } from './trace.ts';

/** What a teacher adds to the inputs and to the memory. */
interface TeacherMemory {
  withPlaces(inputs: HostTensors): HostTensors;
  memory(inputs: HostTensors): { weights: number; activations: number };
}

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

interface Extent {
  /** Inputs with the shape of the largest part of a batch. */
  largest: HostTensors;
  /** The maximum number of parts. */
  parts: number;
  keepsBest: boolean;
  /** Of a distillation. */
  teacher?: TeacherMemory | undefined;
  /** The graph of a step for `largest`, if it is already traced. */
  graph?: Graph;
}

export function memoryOf(
  { program, weights }: { program: Program; weights: Specs },
  options: TrainingOptions,
  { largest, parts, keepsBest, teacher, graph }: Extent,
): MemoryEstimate {
  const trained = Object.keys(weights).filter((name) => options.weight(name));
  const rule = ruleOf(options.optimizer);
  const floats = (sizes: number[]) => 4 * sizes.reduce((sum, size) => sum + size, 0);
  const all = floats(Object.values(weights).map(({ shape }) => sizeOf(shape)));
  const own = floats(trained.map((name) => sizeOf(weights[name]!.shape)));
  const moments = floats(trained.flatMap((name) => Object.values(rule.moments(weights[name]!.shape))));
  const taught = teacher?.withPlaces(largest) ?? largest;
  const traced = () =>
    traceTraining(program, specsOf(weights), taught, { trained, padding: options.paddingRows ?? {}, checkpointing: options.checkpointing });
  const asking = teacher?.memory(largest);
  const outputs = floats(Object.entries(taught).flatMap(([name, { shape }]) => (name in largest ? [] : [sizeOf(shape)])));
  return {
    weights: all + own, // those that are trained are copied to where the optimizer has them
    gradients: parts > 1 ? 2 * own : own, // those of several parts are added up in arrays of their own
    moments,
    activations: Math.max(peakBytes(graph ?? traced().graph), asking?.activations ?? 0),
    best: keepsBest ? all : 0,
    teacher: asking ? asking.weights + parts * outputs : 0,
  };
}

export const bytesIn = (memory: MemoryEstimate): number => Object.values(memory).reduce((sum, bytes) => sum + bytes, 0);
