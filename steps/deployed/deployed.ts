/** Resolves a pointer, once for each lot of data: the result is cached, so that later promotions do not change it. */
import { constants } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { currentBundle, currentOf, shortId } from '../ml/models/pointer.ts';
import type step from './step.ts';

export async function deployed({ options, inputs, outputs, folder, result }: ContextOf<typeof step>): Promise<void> {
  const { pointer } = options;
  const path = isAbsolute(pointer) ? pointer : join(folder, pointer);
  const current = await currentOf(path);
  if (!current && inputs.initial === undefined)
    throw new StepError(
      `nothing has been promoted to ${pointer}`,
      `Promote a first bundle, \`tunesmith promote BUNDLE ${pointer}\`, or give a model as \`initial\`.`,
      ['pointer'],
    );
  const bundle = current ? await currentBundle(path) : inputs.initial!;
  await cp(bundle, outputs.model, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
  await writeFile(outputs.promotion, `${JSON.stringify({ pointer, ...(current ?? { number: 0, bundle: null }) }, null, 2)}\n`);
  result(
    current
      ? `${pointer}: ${shortId(current.bundle)} (${current.name}, promotion ${current.number})`
      : `${pointer}: nothing has been promoted, so \`initial\` counts`,
  );
}
