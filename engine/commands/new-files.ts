/** Writes the files that a command creates. Never overwrites a file. */
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nearPath } from '../report/failure.ts';
import { usage } from './pipeline-file.ts';

/** Writes either all files or none, also if the disk is full. Returns their paths for display. */
export function writeNew(folder: string, files: Record<string, string>): string[] {
  const paths = Object.keys(files).map((name) => join(folder, name));
  const there = paths.filter((path) => existsSync(path));
  if (there.length > 0)
    throw usage(
      `${there.map(nearPath).join(', ')} already ${there.length === 1 ? 'exists' : 'exist'}`,
      'Nothing was written. Move the existing files away, or choose another name.',
    );
  const made: string[] = [];
  try {
    for (const [n, content] of Object.values(files).entries()) {
      const path = paths[n]!;
      const topmost = mkdirSync(dirname(path), { recursive: true });
      if (topmost !== undefined) made.push(topmost);
      const file = openSync(path, 'wx');
      made.push(path);
      try {
        writeFileSync(file, content);
      } finally {
        closeSync(file);
      }
    }
  } catch (error) {
    for (const path of made) rmSync(path, { recursive: true, force: true });
    throw error;
  }
  return paths.map(nearPath);
}
