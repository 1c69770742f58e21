/** Moves a pointer to a bundle. The pointer is not an output: a rollback is not undone by the next run, in which this step is fresh. */
import { readFile, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { promote as movePointer } from '../ml/answering/promote.ts';
import { shortId } from '../ml/models/pointer.ts';
import type step from './step.ts';

export async function promote({ options, inputs, outputs, folder, result }: ContextOf<typeof step>): Promise<void> {
  const { pointer } = options;
  const path = isAbsolute(pointer) ? pointer : join(folder, pointer);
  const expect = inputs.expect === undefined ? undefined : await expected(inputs.expect);
  const { promotion, before, changed } = await movePointer(inputs.bundle, path, { expect });
  await writeFile(
    outputs.receipt,
    `${JSON.stringify({ pointer, ...promotion, before: changed ? (before?.bundle ?? null) : null }, null, 2)}\n`,
  );
  result(`${pointer} ${changed ? 'now names' : 'names already'} ${shortId(promotion.bundle)} (${promotion.name})`);
}

async function expected(file: string): Promise<string> {
  const { bundle } = (await readFile(file, 'utf8')
    .then(JSON.parse)
    .catch(() => ({}))) as { bundle?: unknown };
  if (bundle === null) return 'none';
  if (typeof bundle === 'string') return bundle;
  throw new StepError('`expect` is not the output `promotion` of a deployed step', 'Write `expect: ${{ steps.deployed.promotion }}`.', [
    'expect',
  ]);
}
