/**
 * Pushes a folder to a model repository on a hub: one commit of what changed, then a tag. A push that ended early can be repeated:
 * large files that have arrived, and everything that a commit already contains, are not sent again.
 */
import { readFile } from 'node:fs/promises';
import { StepError } from '../../../engine/contract/step.ts';
import { openBundle } from '../answering/bundle.ts';
import { currentBundle } from '../models/pointer.ts';
import { HubRepository, type PushProgress, PushRefusal, type RemoteFile } from './hub-repository.ts';
import { uploadLargeFile } from './large-files.ts';
import { gitHash, type LocalFile, lfsHash, localFiles, refuseChanged, sampleOf } from './local-files.ts';
import type { PushNames } from './names.ts';

export { nameProblem } from './names.ts';

export interface PushOptions extends PushNames {
  private?: boolean | undefined;
  /** The message of the commit. */
  message?: string | undefined;
  /** Deletes the files of the repository that the folder lacks. */
  delete_others?: boolean | undefined;
}

/** What a push has achieved. */
export interface Pushed {
  repo: string;
  branch: string;
  /** The commit. */
  revision: string;
  tag: string | null;
  private: boolean;
  url: string;
}

export interface PushOutcome {
  pushed: Pushed;
  /** False if the repository had the same files already: there is no new commit. */
  changed: boolean;
  /** Files of the new commit that were sent, and the bytes of large files that the storage lacked. */
  sent: { files: number; bytes: number };
  /** Files of the repository that the folder lacks. */
  others: string[];
}

/** @throws StepError for a folder that is no bundle, or a bundle without a model card. `given` may be a pointer. */
export async function pushBundle(given: string, options: PushOptions, progress: PushProgress): Promise<PushOutcome> {
  const { folder } = await openBundle(await currentBundle(given));
  return push(folder, options, progress);
}

export async function push(folder: string, options: PushOptions, progress: PushProgress): Promise<PushOutcome> {
  const hub = new HubRepository(options.repo, progress);
  const files = await localFiles(folder);
  try {
    return await pushFiles(hub, files, options, progress);
  } catch (error) {
    // A file may have gone.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') await refuseChanged(files);
    throw error;
  }
}

async function pushFiles(hub: HubRepository, files: LocalFile[], options: PushOptions, progress: PushProgress): Promise<PushOutcome> {
  const { tag, branch = 'main', private: isPrivate = false } = options;
  const card = files.find(({ path }) => path === 'README.md');
  if (!card)
    throw new StepError('the bundle has no model card, README.md', 'Make the bundle with the step `deploy`, or write a README.md.');
  await hub.checkCard(await readFile(card.file, 'utf8'));
  const visibility = await openRepository(hub, isPrivate);
  const sent = { files: 0, bytes: 0 };
  for (let attempt = 1; ; attempt++) {
    const head = await headOf(hub, branch, tag);
    const remote = head.commit === undefined ? new Map<string, RemoteFile>() : await hub.files(head.commit);
    const others = [...remote.keys()].filter((path) => path !== '.gitattributes' && !files.some((file) => file.path === path));
    const changes = await changesOf(hub, branch, files, remote);
    const deleted = options.delete_others ? others : [];
    const nothing = changes.length + deleted.length === 0;
    if (head.tagged !== undefined && (head.tagged !== head.commit || !nothing)) throw movedTag(hub, tag!, head.tagged, head.commit);
    let revision = head.commit;
    if (!nothing || revision === undefined) {
      const lines = await send(hub, branch, changes, sent, progress);
      await refuseChanged(files);
      try {
        const { message = 'Upload model with tunesmith' } = options;
        const header = { summary: message, description: '', ...(head.commit === undefined ? {} : { parentCommit: head.commit }) };
        const deletions = deleted.map((path) => ({ key: 'deletedFile', value: { path } }));
        revision = await hub.commit(branch, [{ key: 'header', value: header }, ...lines, ...deletions]);
      } catch (error) {
        // Somebody else has committed, or our own commit was made and its answer got lost.
        if (error instanceof PushRefusal && error.status === 412 && attempt < 4) continue;
        throw error;
      }
    }
    if (tag !== undefined && head.tagged === undefined && !(await hub.createTag(tag, revision))) {
      const tagged = await hub.commitOf(tag);
      if (tagged !== revision) throw movedTag(hub, tag, tagged, revision);
    }
    const url = `${hub.page}/tree/${encodeURIComponent(tag ?? revision)}`;
    const pushed = { repo: hub.id, branch, revision, tag: tag ?? null, private: visibility.isPrivate, url };
    return { pushed, changed: !nothing || attempt > 1, sent, others: options.delete_others ? [] : others };
  }
}

/** The repository, which is created if there is none. Private files never go to a public one. */
async function openRepository(hub: HubRepository, wantPrivate: boolean): Promise<{ isPrivate: boolean }> {
  let found = await hub.find();
  if (!found) {
    const created = await hub.create(wantPrivate);
    found = await hub.find();
    if (!found)
      throw new StepError(
        `${hub.id} could not be ${created ? 'found after it was created' : 'created: a repository of another type has this name, or one that the account of your token may not see'} at ${hub.endpoint}`,
        'Choose another name.',
      );
  }
  if (wantPrivate && !found.isPrivate)
    throw new StepError(
      `${hub.id} is public, but the push is private, so nothing was sent`,
      `Make the repository private at ${hub.page}/settings, choose another name, or push without \`private\`.`,
    );
  return found;
}

/** The current commit of the branch, which is created if there is none, and the commit of the tag. */
async function headOf(
  hub: HubRepository,
  branch: string,
  tag: string | undefined,
): Promise<{ commit: string | undefined; tagged: string | undefined }> {
  let { branches, tags } = await hub.refs();
  if (!branches.has(branch) && branch !== 'main') {
    if (tags.has(branch)) throw new StepError(`${branch} is a tag of ${hub.id}, not a branch`, 'Choose another name for the branch.');
    await hub.createBranch(branch);
    ({ branches, tags } = await hub.refs());
  }
  return { commit: branches.get(branch), tagged: tag !== undefined && tags.has(tag) ? await hub.commitOf(tag) : undefined };
}

const movedTag = (hub: HubRepository, tag: string, tagged: string, commit: string | undefined): StepError =>
  new StepError(
    `the tag ${tag} of ${hub.id} is the commit ${tagged.slice(0, 7)}, which is not what you push${commit === undefined || commit === tagged ? '' : ` (${commit.slice(0, 7)})`}`,
    `A tag is never moved. Choose another one, or delete it first: hf repos tag delete ${hub.id} ${tag}`,
  );

interface Change {
  file: LocalFile;
  large: boolean;
}

/** The files that the commit lacks, or has with other content, and how the hub wants them. */
async function changesOf(
  hub: HubRepository,
  branch: string,
  files: LocalFile[],
  remote: ReadonlyMap<string, RemoteFile>,
): Promise<Change[]> {
  const changed: LocalFile[] = [];
  for (const file of files) {
    const there = remote.get(file.path);
    if (!there || (there.lfs === undefined ? there.oid !== (await gitHash(file)) : there.lfs !== (await lfsHash(file)))) changed.push(file);
  }
  const samples = changed.map(async (file) => ({ path: file.path, size: file.size, sample: (await sampleOf(file)).toString('base64') }));
  const modes = await hub.uploadModes(branch, await Promise.all(samples));
  // A storage accepts no empty file. What the repository's .gitignore excludes stays out.
  return changed
    .filter(({ path }) => modes.get(path) !== 'ignored')
    .map((file) => ({ file, large: modes.get(file.path) === 'lfs' && file.size > 0 }));
}

/** Sends large files. @returns the lines of the commit, which contain the small ones */
async function send(
  hub: HubRepository,
  branch: string,
  changes: Change[],
  sent: PushOutcome['sent'],
  progress: PushProgress,
): Promise<unknown[]> {
  const total = changes.reduce((sum, { file }) => sum + file.size, 0);
  let done = 0;
  const onBytes = (count: number) => {
    done += count;
    progress.onBytes(done, total);
  };
  const lines: unknown[] = [];
  sent.files = changes.length;
  for (const { file, large } of changes) {
    const { path, size } = file;
    progress.signal.throwIfAborted();
    if (large) {
      const sha256 = await lfsHash(file);
      sent.bytes += await uploadLargeFile(hub, branch, { ...file, sha256 }, onBytes);
      lines.push({ key: 'lfsFile', value: { path, algo: 'sha256', oid: sha256, size } });
    } else {
      lines.push({ key: 'file', value: { path, encoding: 'base64', content: await readFile(file.file, 'base64') } });
      onBytes(size);
    }
  }
  return lines;
}
