/** Resolves a path or glob inside a downloaded folder. */
import { readdirSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { isGlob, matches } from '../pipeline/glob.ts';
import { StepError } from '../step.ts';
import { didYouMean } from '../suggest.ts';
import type { Address } from './address.ts';
import type { Fetched } from './work.ts';

/** `root`: the downloaded folder or file; `name`: its address. */
export function pick(root: string, { path }: Address, name: string): Fetched[] {
  if (path === '') return [{ path: root, address: name }];
  const one = isGlob(path) ? undefined : statSync(join(root, path), { throwIfNoEntry: false });
  const found = isGlob(path) ? matches(path, root) : one ? [join(root, path)] : [];
  if (found.length > 0) return found.map((file) => ({ path: file, address: `${name}/${relative(root, file).split(sep).join('/')}` }));
  if (!statSync(root).isDirectory())
    throw new StepError(`${name} is a file, so it cannot contain ${path}`, `Remove /${path} from the address.`);
  const names = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
  throw new StepError(
    isGlob(path) ? `nothing in ${name} matches ${path}` : `there is no ${path} in ${name}`,
    didYouMean(path, names, 'its files'),
  );
}
