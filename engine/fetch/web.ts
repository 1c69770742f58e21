/** An archive or another file at a URL. Its SHA-256 identifies it, whatever its host. */

import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { WebAddress } from '../contract/address.ts';
import { StepError } from '../contract/step.ts';
import { resolveInside } from './choose-files.ts';
import { download } from './download.ts';
import { downloadReports, type FetchedStore, type FetchProgress } from './fetched-store.ts';
import type { AddressProvider, Fetched } from './provider.ts';
import { archiveForm, flattenTopFolder, unpack } from './unpack.ts';

export class Web implements AddressProvider<WebAddress> {
  constructor(private readonly store: FetchedStore) {}

  /** The name: for a file as in its URL, because steps may use it; for an archive only its type matters. */
  async pin({ url, path, sha256 }: WebAddress): Promise<{ name: string; revision: string }> {
    const file = fileName(url);
    const name = /\.(tar|tgz|tar\.gz|zip)$/i.test(file) ? 'archive' : file;
    return { name: path === '' ? name : `${name}/${path}`, revision: sha256 };
  }

  async fetch(address: WebAddress, _: string, progress: FetchProgress): Promise<Fetched[]> {
    const { url, sha256 } = address;
    const name = fileName(url);
    const place = await this.store.getOrMake(join('web', `${sha256}-${name}`), progress, async (folder) => {
      const file = this.store.download(`${sha256}-${name}`);
      // Exists already if a run was interrupted before unpacking.
      if (!existsSync(file)) {
        const hash = { kind: 'sha256', hex: sha256 } as const;
        await download({ url, to: file, what: url, hash, refused: (response) => refused(response, url), ...downloadReports(progress) });
      }
      const form = await archiveForm(file, name);
      if (!form) {
        await rename(file, join(folder, name));
        return name;
      }
      const inside = name.replace(/\.(tar|tgz|tar\.gz|zip)$/i, '') || name;
      await unpack(file, form, join(folder, inside), url, progress.signal);
      await flattenTopFolder(join(folder, inside));
      await rm(file, { force: true });
      return inside;
    });
    return resolveInside(place, address, url);
  }
}

async function refused(response: Response, url: string): Promise<StepError> {
  await response.body?.cancel();
  return new StepError(
    `${new URL(url).host} answers ${response.status} for ${url}`,
    response.status === 404
      ? 'The file may have moved. Check the page that the address is from.'
      : 'Run again later, or find another host for the file.',
  );
}

/** The last part of a URL's path as a valid file name. */
function fileName(url: string): string {
  let name = basename(new URL(url).pathname);
  try {
    name = decodeURIComponent(name);
  } catch {
    // Use the name as it is.
  }
  return (
    name
      .replace(/[^\w.-]+/g, '_')
      .replace(/^\.+/, '')
      .slice(-100) || 'file'
  );
}
