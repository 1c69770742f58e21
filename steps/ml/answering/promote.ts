/** Moves a pointer: stores a bundle and adds a promotion to the history. A kill at any moment leaves the old promotion or the new one. */
import { randomUUID } from 'node:crypto';
import { constants, existsSync, readdirSync, statSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { flush } from '../data/whole-files.ts';
import {
  bundleIn,
  contentHash,
  currentBundle,
  currentOf,
  fileOf,
  filesIn,
  historyOf,
  type Promotion,
  promotionAt,
  shortId,
} from '../models/pointer.ts';
import { openBundle } from './bundle.ts';

export { isPointer, promotionsOf } from '../models/pointer.ts';

export interface Promoted {
  promotion: Promotion;
  /** The promotion before it, if there is one. */
  before: Promotion | undefined;
  /** False if the bundle was current already. */
  changed: boolean;
}

interface PromoteOptions {
  /** The bundle that must be current: its hash, or the beginning of it; `none` if nothing may have been promoted. */
  expect?: string | undefined;
}

/** Makes a bundle the current one. `given`: the bundle, or a pointer whose current bundle is meant. */
export function promote(given: string, pointer: string, { expect }: PromoteOptions = {}): Promise<Promoted> {
  return explained(pointer, async () => {
    refuseOtherFolder(pointer);
    const folder = await currentBundle(given);
    const { name } = await openBundle(folder);
    const before = await currentOf(pointer);
    const bundle = await contentHash(folder);
    // A promotion that is repeated after a kill expects what was current before.
    if (before?.bundle !== bundle) refuseUnexpected(pointer, before, expect);
    await storeBundle(folder, pointer, bundle);
    return before?.bundle === bundle
      ? { promotion: before, before, changed: false }
      : addPromotion(pointer, before, { bundle, name, action: 'promote', back: before?.number ?? null });
  });
}

/** Makes the bundle current that was so before. A second call goes back one more promotion. */
export function rollBack(pointer: string, { expect }: PromoteOptions = {}): Promise<Promoted> {
  return explained(pointer, async () => {
    const before = await currentOf(pointer);
    if (!before)
      throw new StepError(
        `${pointer} is not a pointer, so there is nothing to go back to`,
        `Promote a bundle first: tunesmith promote BUNDLE ${pointer}`,
      );
    refuseUnexpected(pointer, before, expect);
    if (before.back === null)
      throw new StepError(`${pointer}: promotion ${before.number} has none before it to go back to`, 'Promote another bundle instead.');
    const target = await promotionAt(pointer, before.back);
    const folder = bundleIn(pointer, target);
    if (!existsSync(folder))
      throw new StepError(
        `${pointer}: the bundle ${shortId(target.bundle)} of promotion ${target.number} is no longer in ${dirname(folder)}`,
        'Promote another bundle instead.',
      );
    await refuseChanged(folder, target.bundle);
    const { bundle, name, back } = target;
    return addPromotion(pointer, before, { bundle, name, action: 'rollback', back });
  });
}

/** The arguments may be in the wrong order: a bundle must not become a pointer. */
function refuseOtherFolder(pointer: string): void {
  const stats = statSync(pointer, { throwIfNoEntry: false });
  if (!stats) return;
  if (!stats.isDirectory()) throw new StepError(`${pointer} is a file, so it cannot become a pointer`, 'Give the path of a new folder.');
  const strange = readdirSync(pointer).find((name) => name !== 'history' && name !== 'bundles');
  if (strange !== undefined && !existsSync(historyOf(pointer)))
    throw new StepError(
      `${pointer} contains ${strange}, so it is another folder and cannot become a pointer`,
      'Give the bundle first, then the path of the pointer: tunesmith promote BUNDLE POINTER',
    );
}

function refuseUnexpected(pointer: string, current: Promotion | undefined, expect: string | undefined): void {
  if (expect === undefined) return;
  if (expect !== 'none' && !/^[0-9a-f]{8,64}$/.test(expect))
    throw new StepError(
      `${expect} is not the hash of a bundle`,
      'Give at least 8 of its digits, or `none` if nothing may have been promoted.',
    );
  if (current ? expect !== 'none' && current.bundle.startsWith(expect) : expect === 'none') return;
  const expected = expect === 'none' ? 'nothing was expected' : `${shortId(expect)} was expected`;
  throw new StepError(
    `${pointer} ${current ? `names ${inWords(current)}` : 'names no bundle'}, but ${expected}`,
    'Another promotion or rollback came first. Compare your bundle with the current one, then promote it again. In a pipeline: tunesmith run FILE --from deployed --force',
  );
}

const inWords = ({ bundle, number, time }: Promotion): string => `${shortId(bundle)} (promotion ${number}, ${time})`;

/** Adds the next file of the history, which only one of several processes can create: so two promotions never both count. */
async function addPromotion(pointer: string, before: Promotion | undefined, entry: Omit<Promotion, 'number' | 'time'>): Promise<Promoted> {
  const folder = historyOf(pointer);
  await mkdir(folder, { recursive: true });
  const promotion: Promotion = { number: (before?.number ?? 0) + 1, ...entry, time: new Date().toISOString() };
  const unfinished = join(folder, `.${randomUUID()}`);
  try {
    const { number: _, ...content } = promotion;
    await writeFile(unfinished, `${JSON.stringify({ version: 1, ...content }, null, 2)}\n`, { flush: true });
    await create(unfinished, join(folder, fileOf(promotion.number)));
    await flush(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const other = (await currentOf(pointer))!;
    if (other.bundle === promotion.bundle) return { promotion: other, before, changed: false };
    throw new StepError(
      `${pointer}: another process promoted at the same time, and ${pointer} now names ${inWords(other)}. ${shortId(promotion.bundle)} was not promoted`,
      'Compare your bundle with the current one, then promote it again.',
    );
  } finally {
    await rm(unfinished, { force: true });
  }
  return { promotion, before, changed: true };
}

/** Gives the file its name, unless that exists. A file system without hard links copies it. */
async function create(file: string, path: string): Promise<void> {
  await link(file, path).catch((error: NodeJS.ErrnoException) => {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(error.code!)) throw error;
    return copyFile(file, path, constants.COPYFILE_EXCL);
  });
}

/** Copies the bundle into the pointer, where no cleaning of a cache removes it. */
async function storeBundle(folder: string, pointer: string, bundle: string): Promise<void> {
  const stored = bundleIn(pointer, { bundle });
  if (existsSync(stored)) return refuseChanged(stored, bundle);
  await mkdir(dirname(stored), { recursive: true });
  await removeUnfinished(dirname(stored));
  const unfinished = join(dirname(stored), `${UNFINISHED}${randomUUID()}`);
  try {
    await copyDurably(folder, unfinished);
    if ((await contentHash(unfinished)) !== bundle)
      throw new StepError(`${folder} changed while it was copied`, 'Wait until whatever writes it has ended, then promote again.');
    await rename(unfinished, stored).catch((error: NodeJS.ErrnoException) => {
      // Another process has stored the same bundle meanwhile.
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(error.code!) || !existsSync(stored)) throw error;
    });
    await flush(dirname(stored));
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function copyDurably(from: string, to: string): Promise<void> {
  const folders = new Set([to]);
  for (const file of await filesIn(from)) {
    const path = join(to, file);
    await mkdir(dirname(path), { recursive: true });
    await copyFile(join(from, file), path, constants.COPYFILE_FICLONE);
    await flush(path);
    folders.add(dirname(path));
  }
  for (const folder of folders) await flush(folder);
}

const UNFINISHED = '.unfinished-';

/** Removes copies that a killed process has left. A copy that is in progress is not that old. */
async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(UNFINISHED)) continue;
    const path = join(folder, name);
    const age = Date.now() - (await stat(path).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs;
    if (age > DAY) await rm(path, { recursive: true, force: true });
  }
}

const DAY = 86_400_000;

async function refuseChanged(stored: string, bundle: string): Promise<void> {
  if ((await contentHash(stored)) !== bundle)
    throw new StepError(`${stored} was changed after it was stored`, 'Remove this folder, then promote the bundle again.');
}

/** Errors of the file system become messages about the pointer. */
async function explained<T>(pointer: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof StepError || code === undefined) throw error;
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new StepError(`${pointer}: the disk is full; the pointer stays as it was`, 'Free some space, then promote again.');
    throw new StepError(`${pointer} stays as it was: ${message}`, 'Check the permissions of the folder.');
  }
}
