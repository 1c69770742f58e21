/** `tunesmith promote BUNDLE POINTER`: moves a pointer to a bundle. With --rollback it goes back, with --history it lists the promotions. */

import { resolve } from 'node:path';
import { promotion } from '../../steps/registry.ts';
import { usage } from '../contract/errors.ts';
import { colorsFor, printable, printableJson, printLines } from '../format/terminal-text.ts';
import { modelFolder } from './model.ts';

interface PromoteFlags {
  rollback?: boolean;
  history?: boolean;
  expect?: string;
  json?: boolean;
}

type Pointers = Awaited<ReturnType<typeof promotion>>;
type Promotion = Awaited<ReturnType<Pointers['promotionsOf']>>[number];

export default async function promote(
  paths: string[],
  { rollback = false, history = false, expect, json = false }: PromoteFlags,
): Promise<void> {
  const only = rollback ? '--rollback' : history ? '--history' : undefined;
  if (paths.length !== (only === undefined ? 2 : 1))
    throw usage(
      only === undefined ? 'promote needs a bundle and a pointer' : `promote ${only} takes one path, that of the pointer`,
      `For example: tunesmith promote ${only === undefined ? 'BUNDLE POINTER' : `POINTER ${only}`}`,
    );
  const pointers = await promotion();
  const pointer = paths.at(-1)!;
  if (history) return list(pointers, pointer, json);
  const {
    promotion: current,
    before,
    changed,
  } = rollback ? await pointers.rollBack(pointer, { expect }) : await pointers.promote(await modelFolder(paths[0]!), pointer, { expect });
  const path = resolve(pointer, 'bundles', current.bundle);
  if (json) return printLines([printableJson({ pointer, ...current, before: before?.bundle ?? null, changed, path })]);
  const bundle = `${current.bundle.slice(0, 12)} (${current.name})`;
  printLines([
    printable(changed ? `${pointer} now names ${bundle}` : `${pointer} names ${bundle} already, so nothing changes`),
    ...(changed && before ? [printable(`before: ${before.bundle.slice(0, 12)} (${before.name})${rollback ? '' : wayBack(pointer)}`)] : []),
  ]);
}

const wayBack = (pointer: string): string => `. To go back: tunesmith promote ${pointer} --rollback`;

async function list({ isPointer, promotionsOf }: Pointers, pointer: string, json: boolean): Promise<void> {
  if (!isPointer(pointer)) throw usage(`${pointer} is not a pointer`, `Promote a bundle first: tunesmith promote BUNDLE ${pointer}`);
  const all = await promotionsOf(pointer);
  const colors = colorsFor(process.stdout);
  printLines(
    json
      ? all.map((one, i) => printableJson({ ...one, current: i === all.length - 1 }))
      : all.map((one, i) => lineOf(one, i === all.length - 1, colors)).reverse(),
  );
}

function lineOf({ number, bundle, name, time, action, back }: Promotion, current: boolean, colors: ReturnType<typeof colorsFor>): string {
  const what = action === 'rollback' ? `rollback` : 'promote ';
  const line = `${String(number).padStart(4)}  ${time.slice(0, 19).replace('T', ' ')} UTC  ${what}  ${bundle.slice(0, 12)}  ${printable(name)}`;
  return current ? colors.bold(`${line}  (current${back === null ? '' : `; a rollback returns to ${back}`})`) : line;
}
