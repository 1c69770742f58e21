/** The floating-point types in which weights are stored, and rounding to them. */

import { StepError } from '../../../engine/contract/step.ts';
import { halvesOf, TOO_LARGE_FOR_FLOAT16, toBfloat16, toFloat16 } from '../runtime/half-precision.ts';
import type { ConfigFile } from './config.ts';
import { type StoredTensor, toFloat32 } from './safetensors.ts';

/** By the names of transformers and PyTorch, those of safetensors. */
const FLOAT_TYPES = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

/** The value of `dtype` in options and in config.json. */
export type FloatType = keyof typeof FLOAT_TYPES;

/**
 * The tensor in a floating-point type, rounded to the nearest value and to even at a tie, as in PyTorch. Tensors of
 * whole numbers stay as they are. `name`: the tensor's name in messages.
 * @throws StepError if a number is too large for the type, or is none
 */
export function asFloatType(tensor: StoredTensor, type: FloatType, name: string): StoredTensor {
  const dtype = FLOAT_TYPES[type];
  const values = tensor.dtype === dtype ? undefined : toFloat32(tensor);
  if (!values) return tensor;
  const stored = type === 'float32' ? values : halvesOf(values, type === 'float16' ? toFloat16 : toBfloat16);
  const limit = LARGEST[type];
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i]!) < limit) continue;
    if (!Number.isFinite(values[i]))
      throw new StepError(
        `${name} contains NaN or infinite numbers`,
        'Its training diverged, or the file is damaged: use another checkpoint.',
      );
    throw new StepError(
      `${name} contains ${values[i]}, which is too large for ${type}`,
      type === 'float16' ? 'Use `dtype: bfloat16`, which has the range of float32.' : 'Use `dtype: float32`.',
      ['dtype'],
    );
  }
  return { dtype, shape: tensor.shape, bytes: new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength) };
}

/** The type that all weights of a model have, apart from whole numbers; float32 if they differ or have another one. */
export function sharedFloatType(tensors: Iterable<Pick<StoredTensor, 'dtype'>>): FloatType {
  const found = new Set([...tensors].map(({ dtype }) => dtype).filter((dtype) => /F/.test(dtype)));
  const names = Object.keys(FLOAT_TYPES) as FloatType[];
  return names.find((name) => found.size === 1 && found.has(FLOAT_TYPES[name])) ?? 'float32';
}

/** The type of weights as transformers records it. Its versions before 4.56 read only the older name of the field. */
export function withFloatType(file: ConfigFile, type: FloatType): ConfigFile {
  return { ...file, ...('torch_dtype' in file && { torch_dtype: type }), dtype: type };
}

/** Numbers from here on round to infinity: half a step above the largest number of the type. */
const LARGEST: Record<FloatType, number> = { float32: Infinity, float16: TOO_LARGE_FOR_FLOAT16, bfloat16: 2 ** 128 - 2 ** 119 };
