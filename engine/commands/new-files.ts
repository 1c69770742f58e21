/** Writes files that a command proposes; never over one that is there. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nearPath } from '../report/failure.ts';
import { usage } from './pipeline-file.ts';

/** Either all or none; returns their paths, as to be shown. */
export function writeNew(folder: string, files: Record<string, string>): string[] {
  const paths = Object.keys(files).map((name) => join(folder, name));
  const there = paths.filter((path) => existsSync(path));
  if (there.length > 0)
    throw usage(
      `${there.map(nearPath).join(', ')} ${there.length === 1 ? 'is' : 'are'} already there`,
      'Nothing was written. Move what is there away, or choose another name.',
    );
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content, { flag: 'wx' });
  }
  return paths.map(nearPath);
}
