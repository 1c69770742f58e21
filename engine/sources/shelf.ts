/**
 * Downloaded and unpacked folders in the cache. Each is stored atomically with a hash of its content, and is downloaded
 * again if its content no longer matches.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { contentOf } from '../../cache/content.ts';
import { diskError } from '../../cache/error.ts';
import type { Memo } from '../../cache/memo.ts';
import { removeAbandoned, temporaryIn } from '../../cache/temporary.ts';
import { locked } from './lock.ts';
import type { Work } from './work.ts';

export class Shelf {
  constructor(
    /** Created on demand. */
    readonly folder: string,
    private readonly memo: Memo,
  ) {}

  /**
   * The folder with that name. If it is missing, `make` writes it into an empty folder and returns the path in it:
   * `owner/name@1a2b3c4`, which messages show.
   */
  async take(name: string, work: Work, make: (folder: string) => Promise<string>): Promise<string> {
    const place = join(this.folder, name);
    return locked(`${place}.lock`, work, async () => {
      const found = await this.#whole(place);
      if (found === 'damaged') work.say(`${name} in ${this.folder} was changed and will be downloaded again`);
      else if (found) return found.path;
      const folder = dirname(place);
      removeAbandoned(folder);
      const staged = temporaryIn(folder);
      try {
        await mkdir(join(staged, 'files'), { recursive: true });
        const inside = await make(join(staged, 'files'));
        const { hash } = (await contentOf(join(staged, 'files'), this.memo))!;
        await writeFile(join(staged, 'made.json'), JSON.stringify({ hash, inside }));
        await rm(place, { recursive: true, force: true });
        await rename(staged, place);
        return join(place, 'files', inside);
      } catch (error) {
        await rm(staged, { recursive: true, force: true });
        throw diskError(error, `putting ${name} in place`, this.folder);
      }
    });
  }

  /** The path of a download before it is unpacked. */
  download(name: string): string {
    return join(this.folder, 'downloads', name);
  }

  /** Ignores errors. Without the entry, the next run asks again. */
  async remember(name: string, text: string): Promise<void> {
    const place = join(this.folder, name);
    const made = temporaryIn(dirname(place));
    try {
      await mkdir(dirname(place), { recursive: true });
      await writeFile(made, text);
      await rename(made, place);
    } catch {
      await rm(made, { force: true });
    }
  }

  async recall(name: string): Promise<string | undefined> {
    return readFile(join(this.folder, name), 'utf8').catch(() => undefined);
  }

  async #whole(place: string): Promise<{ path: string } | 'damaged' | undefined> {
    const made = await readFile(join(place, 'made.json'), 'utf8').catch(() => undefined);
    if (made === undefined) return undefined;
    try {
      const { hash, inside } = JSON.parse(made) as { hash: string; inside: string };
      return (await contentOf(join(place, 'files'), this.memo))?.hash === hash ? { path: join(place, 'files', inside) } : 'damaged';
    } catch {
      return 'damaged';
    }
  }
}
