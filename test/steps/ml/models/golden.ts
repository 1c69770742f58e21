/** Compares our results with the values of transformers and PyTorch below test/golden. */
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Model } from '../../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../../../steps/ml/models/safetensors.ts';
import type { HostTensor, Training } from '../../../../steps/ml/runtime/runtime.ts';

/**
 * Compares the golden step of AdamW with that of `training`: gradients by tensor, with a denominator of at least a
 * thousandth of `norm`, their global norm after clipping; the weights after it as one vector.
 * @param folder contains gradients.safetensors and after.safetensors
 * @param noise whether an element's gradient is 0 except for rounding, from which Adam makes steps of any size; `size` of the weight
 */
export async function compareStep(
  training: Training,
  folder: string,
  norm: number,
  noise: (weight: string, element: number, size: number) => boolean,
): Promise<void> {
  const weights = training.weights();
  const m = training.optimizerState().slots.m!; // after one step: a tenth of the clipped gradients
  const after = await readSafetensors(join(folder, 'after.safetensors'));
  const gradients = await readSafetensors(join(folder, 'gradients.safetensors'));
  expect(Object.keys(weights).sort()).toEqual(Object.keys(after).sort());
  const [all, theirs]: [number[], number[]] = [[], []];
  for (const weight of Object.keys(after)) {
    const gradient = m[weight]!.map((x) => x / (1 - 0.9));
    const expected = toFloat32(gradients[weight]!)!;
    const off = Math.hypot(...gradient.map((x, i) => x - expected[i]!));
    expect(off / Math.max(Math.hypot(...expected), 1e-3 * norm), weight).toBeLessThan(1e-4);
    const stepped = toFloat32(after[weight]!)!;
    for (const [i, value] of weights[weight]!.data.entries()) {
      if (noise(weight, i, stepped.length)) {
        expect(Math.abs(gradient[i]!), weight).toBeLessThan(1e-6);
        continue;
      }
      all.push(value);
      theirs.push(stepped[i]!);
    }
  }
  expect(difference(all, theirs)).toBeLessThan(1e-4);
}

/** ‖ours − theirs‖ / ‖theirs‖ */
export function difference(ours: ArrayLike<number>, theirs: ArrayLike<number>): number {
  expect(ours.length).toBe(theirs.length);
  const norm = (at: (i: number) => number) => Math.sqrt(Array.from(theirs).reduce((sum: number, _, i) => sum + at(i) ** 2, 0));
  return norm((i) => ours[i]! - theirs[i]!) / norm((i) => theirs[i]!);
}

/** A list, or a list of rows with equal lengths. */
export function int32(rows: number[] | number[][]): HostTensor {
  const data = Int32Array.from(rows.flat());
  return { dtype: 'int32', shape: Array.isArray(rows[0]) ? [rows.length, rows[0].length] : [rows.length], data };
}

/** transformers computed the golden step in eval mode. */
export function withoutDropout({ program }: Pick<Model, 'program'>): Model['program'] {
  return (weights, given) => program(weights, given, (x) => x);
}
