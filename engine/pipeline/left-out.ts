/**
 * The files that do not count in a folder that is an input: generated files (byte code, notebook checkpoints, files of editors
 * and version control), files that `exclude` matches and, with `gitignore: true`, files that git ignores. Otherwise a step
 * that imports Python code from its input would change the input by running, and its result could not be stored.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import type { Ignore } from 'ignore';

/** The keys of the input in the pipeline. The patterns have the syntax of .gitignore. */
export interface LeavingOut {
  exclude?: string[];
  gitignore?: boolean;
}

const FOLDERS = new Set([
  '.git',
  '.hg',
  '.svn',
  '.tunesmith',
  '__pycache__',
  '.ipynb_checkpoints',
  '.pytest_cache',
  '.mypy_cache',
  '.ruff_cache',
]);
const FILES = new Set(['.DS_Store', 'Thumbs.db', 'desktop.ini']);
/** Byte code; swap files of Vim; backups, autosaves and locks of Emacs; locks of LibreOffice and Office; deleted files on NFS and FUSE. */
const FILE_NAMES = /\.py[co]$|^\..*\.sw[a-p]$|~$|^#.*#$|^\.#|^\.~lock\..*#$|^~\$|^\.nfs[\da-f]{16,}$|^\.fuse_hidden/;

/** Decides by the name alone. */
export function isByProduct(name: string, isFolder: boolean): boolean {
  return isFolder ? FOLDERS.has(name) : FILES.has(name) || FILE_NAMES.test(name);
}

/** A test for paths relative to a folder: whether they are left out. Callers do not test the content of a folder that is left out. */
export function leftOutOf(folder: string, { exclude = [], gitignore = false }: LeavingOut): (path: string, isFolder: boolean) => boolean {
  const own = exclude.length > 0 ? matcher(exclude) : undefined;
  const ofGit = gitignore ? new GitIgnored(folder) : undefined;
  return (path, isFolder) => {
    if (isByProduct(path.slice(path.lastIndexOf('/') + 1), isFolder)) return true;
    return (own?.ignores(isFolder ? `${path}/` : path) ?? false) || (ofGit?.ignores(path, isFolder) ?? false);
  };
}

/** The .gitignore files from the top of the repository down. The nearest one that matches a path decides. */
class GitIgnored {
  readonly #top: string;
  readonly #known = new Map<string, Ignore | undefined>();

  constructor(private readonly folder: string) {
    this.#top = folder;
    for (let at = folder; dirname(at) !== at; at = dirname(at)) {
      if (!existsSync(join(at, '.git'))) continue;
      this.#top = at;
      break;
    }
  }

  ignores(path: string, isFolder: boolean): boolean {
    const whole = join(this.folder, path);
    for (let at = dirname(whole); at.length >= this.#top.length; at = dirname(at)) {
      const found = this.#patterns(at)?.test(`${relative(at, whole).split(sep).join('/')}${isFolder ? '/' : ''}`);
      if (found?.ignored) return true;
      if (found?.unignored) return false;
      if (dirname(at) === at) break;
    }
    return false;
  }

  #patterns(folder: string): Ignore | undefined {
    if (!this.#known.has(folder)) {
      const file = join(folder, '.gitignore');
      this.#known.set(folder, existsSync(file) ? matcher(readFileSync(file, 'utf8')) : undefined);
    }
    return this.#known.get(folder);
  }
}

/** Loaded on demand, because many pipelines have no patterns. */
function matcher(patterns: string | string[]): Ignore {
  const ignore = createRequire(import.meta.url)('ignore') as typeof import('ignore');
  return ignore({ ignorecase: false }).add(patterns);
}
