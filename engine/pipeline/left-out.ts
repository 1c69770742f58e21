/**
 * What does not count in a folder that is an input: what its own use makes there (byte code, checkpoints of notebooks, files of editors
 * and of version control), what `exclude` of the input names, and, only where the input says `gitignore: true`, what git ignores.
 * Otherwise a step that imports from its input would change it, and its result would never be kept.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import type { Ignore } from 'ignore';

/** As the pipeline says at the input; patterns are those of .gitignore. */
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
/** Byte code; swap files of Vim; backups, saves and locks of Emacs; locks of LibreOffice and Office; what NFS and FUSE keep of deleted files. */
const FILE_NAMES = /\.py[co]$|^\..*\.sw[a-p]$|~$|^#.*#$|^\.#|^\.~lock\..*#$|^~\$|^\.nfs[\da-f]{16,}$|^\.fuse_hidden/;

/** By its name alone. */
export function isByProduct(name: string, isFolder: boolean): boolean {
  return isFolder ? FOLDERS.has(name) : FILES.has(name) || FILE_NAMES.test(name);
}

/** Tells of what lies below a folder, by its path from there, whether it is left out. What is in a folder that is left out is not asked for. */
export function leftOutOf(folder: string, { exclude = [], gitignore = false }: LeavingOut): (path: string, isFolder: boolean) => boolean {
  const own = exclude.length > 0 ? matcher(exclude) : undefined;
  const ofGit = gitignore ? new GitIgnored(folder) : undefined;
  return (path, isFolder) => {
    if (isByProduct(path.slice(path.lastIndexOf('/') + 1), isFolder)) return true;
    return (own?.ignores(isFolder ? `${path}/` : path) ?? false) || (ofGit?.ignores(path, isFolder) ?? false);
  };
}

/** The .gitignore files from the top of the repository down; the nearest one that says anything of a path decides. */
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

/** Loaded where there are patterns: a pipeline without them need not wait for it. */
function matcher(patterns: string | string[]): Ignore {
  const ignore = createRequire(import.meta.url)('ignore') as typeof import('ignore');
  return ignore({ ignorecase: false }).add(patterns);
}
