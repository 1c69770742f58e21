/**
 * The model of `predict`, `serve` and `generate`: a folder, or an address (docs/remote.md) that is downloaded first. These
 * commands need no project, so downloads go to the shared cache or to tunesmith's own folder.
 */

import { homedir } from 'node:os';
import { join } from 'node:path';
import { openCache } from '../../cache/open.ts';
import { printLines } from '../report/print.ts';
import { bytes as bytesOf } from '../report/text.ts';
import { maybeMany, readAddress } from '../sources/address.ts';
import { Sources } from '../sources/sources.ts';
import type { Work } from '../sources/work.ts';
import { usage } from './pipeline-file.ts';

export async function modelFolder(given: string): Promise<string> {
  const address = readAddress(given);
  if (!address) return given;
  if ('mistake' in address) throw usage(address.mistake, address.hint);
  if (maybeMany(address)) throw usage(`${given} may be several files`, 'A model is one folder, for example hf://owner/name@revision');
  const { TUNESMITH_CACHE, TUNESMITH_HOME, XDG_DATA_HOME } = process.env;
  const own = TUNESMITH_HOME || join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'tunesmith');
  const folder = TUNESMITH_CACHE || join(own, 'cache');
  const cache = openCache(folder);
  try {
    const sources = new Sources({ folder: join(folder, 'sources'), memo: cache.memo, readOnly: false, notice: say });
    const [found] = await sources.fetch(await sources.pin(address), telling(given));
    return found!.path;
  } finally {
    cache.close();
  }
}

/** Ctrl-C ends the process. The next call resumes the download. */
function telling(address: string): Work {
  let [done, total] = [0, 0];
  let shown = 0;
  return {
    signal: new AbortController().signal,
    say,
    expect(bytes, files) {
      total += bytes;
      say(`downloading ${address}: ${files === 1 ? '1 file' : `${files} files`}, ${bytesOf(bytes)}`);
    },
    onBytes(count) {
      done += count;
      const percent = Math.floor((100 * done) / Math.max(1, total));
      if (percent === shown || !process.stderr.isTTY) return;
      shown = percent;
      process.stderr.write(`\r${percent} %${done >= total ? '\r\x1b[K' : ''}`);
    },
    onWait(pid) {
      if (pid !== process.pid) say(`waiting for process ${pid}, which is downloading the same files`);
    },
  };
}

/** Writes to stderr, because stdout holds the output of the command. */
function say(message: string): void {
  printLines([message], process.stderr);
}
