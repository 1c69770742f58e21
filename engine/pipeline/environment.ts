/**
 * Everything outside of a pipeline's text that decides its meaning: existing files, packages, variables and the code of
 * steps. Each answer is recorded, so that a later run can check the recorded answers instead of parsing the text again.
 */

import { existsSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { namesIn } from '../../cache/atomic-move.ts';
import { sha256 } from '../../cache/digest.ts';
import { CodeError, codeOf } from '../contract/step-code.ts';
import { matches } from '../files/glob.ts';
import { ownFolder, packageEntry, packageFolder } from '../files/packages.ts';
import { atHome } from '../files/paths.ts';

export interface Answers {
  /** `path x` or `glob x`. */
  looks: Record<string, EnvironmentLookup>;
  packages: Record<string, string | null>;
  /** The state of files and folders whose content was read, by absolute path. */
  stamps: Record<string, string>;
  /** SHA-256 of the value; null if the variable is not set. */
  variables: Record<string, string | null>;
  /** The hash of a step's code, by `uses`. Not for built-in steps. */
  modules: Record<string, string>;
}

/** The number of files that a path or glob matches, and the kind if there is one. */
interface EnvironmentLookup {
  count: number;
  kind?: 'file' | 'folder';
}

export class Environment {
  readonly answers: Answers = {
    looks: Object.create(null),
    packages: Object.create(null),
    stamps: Object.create(null),
    variables: Object.create(null),
    modules: Object.create(null),
  };

  constructor(
    private readonly folder: string,
    private readonly root: string,
    private readonly readOnly: boolean,
    private readonly env: NodeJS.ProcessEnv = process.env,
  ) {}

  lookUp(pattern: string, glob = false): EnvironmentLookup {
    const { looks } = this.answers;
    const question = `${glob ? 'glob' : 'path'} ${pattern}`;
    if (!Object.hasOwn(looks, question))
      looks[question] = glob ? { count: matches(pattern, this.folder).length } : lookUpPath(resolve(this.folder, pattern));
    return looks[question]!;
  }

  /**
   * The package's folder relative to the pipeline's folder, so that a moved checkout has the same path; undefined if not installed.
   * tunesmith need not be installed beside the pipeline.
   */
  packageFolder(name: string): string | undefined {
    const { packages } = this.answers;
    if (!Object.hasOwn(packages, name)) {
      const found = packageFolder(name, this.folder) ?? (name === 'tunesmith' ? ownFolder() : undefined);
      packages[name] = found === undefined ? null : relative(this.folder, found) || '.';
    }
    return packages[name] ?? undefined;
  }

  /** Records the state of a file, or of the files directly in a folder, whose content is read. */
  stamp(path: string): string {
    const { stamps } = this.answers;
    stamps[path] ??= stampOf(path);
    return stamps[path];
  }

  readVariable(name: string): string | undefined {
    const value = variableIn(this.env, name);
    this.answers.variables[name] = value === undefined ? null : sha256(value);
    return value;
  }

  atHome(path: string): string {
    return /^~($|\/)/.test(path) ? atHome(path, this.readVariable('HOME')) : path;
  }

  /** The module of a step that is not built in; undefined if there is none. */
  resolveModule(uses: string): string | undefined {
    if (isOwnFile(uses)) {
      const path = resolve(this.folder, this.atHome(uses));
      return /\.[cm]?[jt]s$/.test(path) && existsSync(path) ? path : undefined;
    }
    const [, name, sub] = PACKAGE.exec(uses) ?? [];
    const found = name === undefined ? undefined : packageFolder(name, this.folder);
    const entry = found && packageEntry(found, sub === undefined ? '.' : `.${sub}`);
    return entry !== undefined && existsSync(entry) ? realpathSync(entry) : undefined;
  }

  /** The hash of the step's code. Throws CodeError. */
  async hashCode(uses: string, path: string): Promise<string> {
    const { hash } = await codeOf(path, { root: this.root, keep: !this.readOnly });
    this.answers.modules[uses] = hash;
    return hash;
  }

  async isUnchanged({ looks, packages, stamps, variables, modules }: Answers): Promise<boolean> {
    for (const [question, { count, kind }] of Object.entries(looks)) {
      const found = this.lookUp(question.slice(5), question.startsWith('glob '));
      // Two matches are enough to know that there are several.
      if (Math.min(found.count, 2) !== Math.min(count, 2) || found.kind !== kind) return false;
    }
    for (const [name, folder] of Object.entries(packages)) if ((this.packageFolder(name) ?? null) !== folder) return false;
    for (const [path, stamp] of Object.entries(stamps)) if (this.stamp(path) !== stamp) return false;
    for (const [name, hash] of Object.entries(variables)) {
      this.readVariable(name);
      if (this.answers.variables[name] !== hash) return false;
    }
    for (const [uses, hash] of Object.entries(modules)) {
      const path = this.resolveModule(uses);
      if (path === undefined) return false;
      try {
        if ((await this.hashCode(uses, path)) !== hash) return false;
      } catch (error) {
        if (error instanceof CodeError) return false;
        throw error;
      }
    }
    return true;
  }
}

/** An own property only, because a variable may have a name such as `constructor`. */
export function variableIn(env: NodeJS.ProcessEnv, name: string): string | undefined {
  return Object.hasOwn(env, name) ? env[name] : undefined;
}

/** Whether `uses` is a file and not a package. */
export function isOwnFile(uses: string): boolean {
  return /^(\.{1,2}|~)([\\/]|$)/.test(uses) || isAbsolute(uses);
}

/** Splits `@scope/name/sub` into the package and the path after it. */
export const PACKAGE = /^((?:@[\w.~-]+\/)?[\w.~-]+)(\/.+)?$/;

function lookUpPath(path: string): EnvironmentLookup {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat ? { count: 1, kind: stat.isDirectory() ? 'folder' : 'file' } : { count: 0 };
  } catch {
    return { count: 0 }; // a folder of the path cannot be read
  }
}

/** Names, sizes and times of change. */
function stampOf(path: string): string {
  const stateOf = (at: string) => {
    try {
      const stat = statSync(at, { throwIfNoEntry: false });
      return [stat?.size, stat?.mtimeMs];
    } catch {
      return []; // it cannot be read, which the step reports
    }
  };
  return sha256(
    JSON.stringify([
      stateOf(path),
      ...namesIn(path)
        .sort()
        .map((name) => [name, stateOf(join(path, name))]),
    ]),
  );
}
