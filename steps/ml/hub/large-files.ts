/**
 * Uploads a large file with Git LFS's batch API: as one request, or in parts where the hub asks for them. What the storage has
 * already is not sent.
 */
import { StepError } from '../../../engine/contract/step.ts';
import type { HubRepository } from './hub-repository.ts';
import { FileSlice, type LocalFile } from './local-files.ts';

export interface LargeFile extends LocalFile {
  sha256: string;
}

interface Action {
  href: string;
  header?: Record<string, string>;
}

type OnBytes = (count: number) => void;

/** The storage refused a request: its addresses expire after a while. */
class StorageRefusal extends StepError {}

const LFS = 'application/vnd.git-lfs+json';

/** @returns the bytes that were sent; 0 if the storage has the file already. `onBytes` may be negative, for those that are sent again. */
export async function uploadLargeFile(hub: HubRepository, branch: string, file: LargeFile, onBytes: OnBytes): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const actions = await requestUpload(hub, branch, file);
    if (!actions?.upload) {
      onBytes(file.size);
      return 0;
    }
    let sent = 0;
    const count: OnBytes = (bytes) => {
      sent += bytes;
      onBytes(bytes);
    };
    try {
      await transfer(hub, file, actions.upload, count);
      if (actions.verify) await verify(hub, file, actions.verify);
      return file.size;
    } catch (error) {
      if (!(error instanceof StorageRefusal) || attempt === 3) throw error;
      onBytes(-sent);
    }
  }
}

async function requestUpload(
  hub: HubRepository,
  branch: string,
  { path, sha256, size }: LargeFile,
): Promise<{ upload?: Action; verify?: Action } | undefined> {
  const response = await hub.request(`${hub.id}.git/info/lfs/objects/batch`, {
    method: 'POST',
    type: LFS,
    accept: LFS,
    body: JSON.stringify({
      operation: 'upload',
      transfers: ['basic', 'multipart'],
      hash_algo: 'sha256',
      ref: { name: branch },
      objects: [{ oid: sha256, size }],
    }),
  });
  const object = (await response.json().catch(() => undefined))?.objects?.[0];
  if (object?.oid !== sha256)
    throw new StepError(`${hub.endpoint} did not say where to upload ${path}`, 'Check that HF_ENDPOINT is the address of a hub.');
  if (object.error)
    throw new StepError(`${hub.endpoint} refuses ${path}: ${object.error.message} (${object.error.code})`, `The repository is ${hub.page}`);
  return object.actions;
}

async function transfer(hub: HubRepository, file: LargeFile, { href, header = {} }: Action, onBytes: OnBytes): Promise<void> {
  if (header.chunk_size === undefined) {
    await put(hub, href, file, {}, onBytes, header);
    return;
  }
  const size = Number(header.chunk_size);
  const urls = Object.keys(header)
    .filter((key) => /^\d+$/.test(key))
    .sort((a, b) => Number(a) - Number(b))
    .map((key) => header[key]!);
  if (!(size > 0) || urls.length !== Math.ceil(file.size / size))
    throw new StepError(
      `${hub.endpoint} gives ${urls.length} addresses for parts of ${header.chunk_size} bytes of ${file.path}, which has ${file.size}`,
    );
  const parts: { partNumber: number; etag: string }[] = [];
  for (const [i, url] of urls.entries()) {
    const { headers } = await put(hub, url, file, { start: i * size, end: Math.min((i + 1) * size, file.size) }, onBytes);
    const etag = headers.get('etag');
    if (!etag) throw new StepError(`the storage of ${hub.endpoint} confirmed no part of ${file.path}: its answer has no ETag`);
    parts.push({ partNumber: i + 1, etag });
  }
  await post(hub, href, file, {}, { oid: file.sha256, parts });
}

/** Sends bytes of the file, again from their beginning after a broken connection. */
async function put(
  hub: HubRepository,
  url: string,
  file: LargeFile,
  range: { start?: number; end?: number },
  onBytes: OnBytes,
  headers: Record<string, string> = {},
): Promise<Response> {
  let sent = 0;
  const response = await hub.send(url, {
    method: 'PUT',
    headers,
    body(alive) {
      onBytes(-sent);
      sent = 0;
      return new FileSlice(file, range, (count) => {
        alive();
        sent += count;
        onBytes(count);
      });
    },
  });
  await refuseUnless(response, hub, file);
  return response;
}

async function verify(hub: HubRepository, file: LargeFile, { href, header = {} }: Action): Promise<void> {
  await post(hub, href, file, header, { oid: file.sha256, size: file.size });
}

async function post(hub: HubRepository, url: string, file: LargeFile, headers: Record<string, string>, body: unknown): Promise<void> {
  const text = JSON.stringify(body);
  const response = await hub.send(url, { method: 'POST', headers: { ...headers, accept: LFS, 'content-type': LFS }, body: () => text });
  await refuseUnless(response, hub, file);
}

/** The address of a storage is never printed: it contains a signature, with which anybody could write. */
async function refuseUnless(response: Response, hub: HubRepository, { path }: LargeFile): Promise<void> {
  if (response.ok) {
    await response.body?.cancel();
    return;
  }
  const refusal = await hub.refused(response);
  if (response.status >= 500 || response.status === 413 || response.status === 429) throw refusal;
  throw new StorageRefusal(
    `the storage of ${new URL(hub.endpoint).host} refuses ${path}, HTTP status ${response.status}`,
    'Push again. If that does not help, the rules of the storage forbid the upload.',
  );
}
