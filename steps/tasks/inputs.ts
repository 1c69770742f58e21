/** The inputs that the program of a task needs from a batch. */
import { type Batch, inputsOf } from '../models/batches.ts';
import { isGenerating } from '../models/family.ts';
import type { Split, TokensInfo } from '../models/tokens.ts';
import type { HostTensors } from '../runtime/runtime.ts';
import { type Masking, maskTokens } from './masked-lm.ts';
import { nextTokens } from './next-tokens.ts';

/** `masking`: for masked-lm. */
export function taskInputs(split: Split, batch: Batch, info: TokensInfo, masking: Masking): HostTensors {
  const given = inputsOf(split, batch, info);
  if (info.task === 'masked-lm') return maskTokens(given, batch.sequences, info, masking);
  return isGenerating(info.task) ? nextTokens(given, info) : given;
}
