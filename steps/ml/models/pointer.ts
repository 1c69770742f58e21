/**
 * A pointer: a folder that says which bundle is deployed, and which ones were before.
 *
 *   history/000001.json   one file for each promotion. It never changes, and the last one is the current promotion
 *   bundles/SHA256/       each promoted bundle, under the hash of its content
 *
 * Nothing else says what is current, so that there is nothing that a killed process could leave half done.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { hashOfFile } from '../data/whole-files.ts';

export interface Promotion {
  /** 1 for the first promotion. */
  number: number;
  /** The SHA-256 of the bundle's content. */
  bundle: string;
  /** The name of the model. */
  name: string;
  /** ISO 8601, UTC. */
  time: string;
  action: 'promote' | 'rollback';
  /** The promotion to which a rollback returns; null if there is none. */
  back: number | null;
}

export const historyOf = (pointer: string): string => join(pointer, 'history');
export const bundleIn = (pointer: string, { bundle }: Pick<Promotion, 'bundle'>): string => join(pointer, 'bundles', bundle);
export const fileOf = (number: number): string => `${String(number).padStart(6, '0')}.json`;

/** The part of a hash that is shown. */
export const shortId = (bundle: string): string => bundle.slice(0, 12);

export function isPointer(folder: string): boolean {
  try {
    return readdirSync(historyOf(folder)).some((name) => ENTRY.test(name));
  } catch {
    return false;
  }
}

/** For a pointer that was given as a model. */
export const unresolvedPointer = (given: string): StepError =>
  new StepError(
    `${given} is a pointer of promote, which names another bundle after each promotion`,
    'In a pipeline, read it with the step `deployed`, so that a promotion makes no step run again.',
  );

const ENTRY = /^(\d{6,})\.json$/;

/** The numbers of the promotions, in their order; empty if there is no pointer yet. */
async function numbersIn(pointer: string): Promise<number[]> {
  const names = await readdir(historyOf(pointer)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new StepError(`the history of ${pointer} cannot be read: ${error.message}`);
  });
  return names.flatMap((name) => (ENTRY.test(name) ? [Number(ENTRY.exec(name)![1])] : [])).sort((a, b) => a - b);
}

/** All promotions, the oldest first. */
export async function promotionsOf(pointer: string): Promise<Promotion[]> {
  return Promise.all((await numbersIn(pointer)).map((number) => promotionAt(pointer, number)));
}

/** Undefined if nothing has been promoted. */
export async function currentOf(pointer: string): Promise<Promotion | undefined> {
  const last = (await numbersIn(pointer)).at(-1);
  return last === undefined ? undefined : promotionAt(pointer, last);
}

export async function promotionAt(pointer: string, number: number): Promise<Promotion> {
  const file = join(historyOf(pointer), fileOf(number));
  const damaged = (why: string) =>
    new StepError(
      `${file} is damaged: ${why}`,
      'Restore it from a backup. If it is the last file, you can also remove it: the one before it then counts.',
    );
  let value: Partial<Promotion> | null;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw damaged((error as Error).message);
  }
  const { bundle, name, time, action, back } = value ?? {};
  if (typeof bundle !== 'string' || !/^[0-9a-f]{64}$/.test(bundle)) throw damaged('it names no bundle');
  if (typeof name !== 'string' || typeof time !== 'string') throw damaged('it has no `name` or no `time`');
  return {
    number,
    bundle,
    name,
    time,
    action: action === 'rollback' ? 'rollback' : 'promote',
    back: typeof back === 'number' ? back : null,
  };
}

/** The folder of the current bundle, for a pointer. Any other path stays as it is. */
export async function currentBundle(given: string): Promise<string> {
  if (!isPointer(given)) return given;
  const folder = bundleIn(given, (await currentOf(given))!);
  if (existsSync(folder)) return folder;
  throw new StepError(
    `${folder}, which the pointer ${given} names, does not exist`,
    `Promote a bundle again: tunesmith promote BUNDLE ${given}`,
  );
}

/** The hash of a folder: of the names of its files and of their content. Links count as what they point to. */
export async function contentHash(folder: string): Promise<string> {
  const all = createHash('sha256');
  for (const file of await filesIn(folder)) all.update(`${file}\0${await hashOfFile(join(folder, file))}\n`);
  return all.digest('hex');
}

/** The paths of all files below a folder, sorted, with `/`. */
export async function filesIn(folder: string, below = ''): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(join(folder, below))).sort()) {
    const path = below === '' ? name : `${below}/${name}`;
    const stats = await stat(join(folder, path));
    if (stats.isDirectory()) found.push(...(await filesIn(folder, path)));
    else if (stats.isFile()) found.push(path);
    else throw new StepError(`${join(folder, path)} is neither a file nor a folder`, 'A bundle consists of files: remove it.');
  }
  return found;
}
