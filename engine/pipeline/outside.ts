/**
 * What lies outside of a pipeline's text and yet decides what it says: files that are there, packages, variables, the
 * code of steps. Every answer is noted, so that a later reading of the same text can ask the same, and need not read.
 */
import { createHash } from 'node:crypto';
import { existsSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, relative, resolve } from 'node:path';
import { CodeError, codeOf } from '../code.ts';
import { atHome } from '../home.ts';
import { matches } from './glob.ts';
import { packageEntry, packageFolder } from './packages.ts';

/** Each by the question that was asked. */
export interface Answers {
  /** `path x` or `glob x`. */
  looks: Record<string, Look>;
  packages: Record<string, string | null>;
  /** SHA-256 of the value; null where the variable is not set. */
  variables: Record<string, string | null>;
  /** Whether a secret's variable is set: of its value nothing is noted. */
  secrets: Record<string, boolean>;
  /** `uses` of a step that is not built in: the hash of its code. */
  modules: Record<string, string>;
}

/** What a path or glob leads to: nothing, one of a kind, or several. */
export interface Look {
  count: number;
  kind?: 'file' | 'folder';
}

export class Outside {
  readonly answers: Answers = {
    looks: Object.create(null),
    packages: Object.create(null),
    variables: Object.create(null),
    secrets: Object.create(null),
    modules: Object.create(null),
  };

  constructor(
    private readonly folder: string,
    private readonly root: string,
    private readonly readOnly: boolean,
    private readonly env: NodeJS.ProcessEnv = process.env,
  ) {}

  look(pattern: string, glob = false): Look {
    const { looks } = this.answers;
    const question = `${glob ? 'glob' : 'path'} ${pattern}`;
    if (!Object.hasOwn(looks, question))
      looks[question] = glob ? { count: matches(pattern, this.folder).length } : lookAt(resolve(this.folder, pattern));
    return looks[question]!;
  }

  /** Relative to the pipeline's folder, so that the path is the same in a moved checkout; undefined where it is not installed. */
  packageFolder(name: string): string | undefined {
    const { packages } = this.answers;
    if (!Object.hasOwn(packages, name)) {
      const found = packageFolder(name, this.folder);
      packages[name] = found === undefined ? null : relative(this.folder, found) || '.';
    }
    return packages[name] ?? undefined;
  }

  variable(name: string): string | undefined {
    const value = variableIn(this.env, name);
    this.answers.variables[name] = value === undefined ? null : createHash('sha256').update(value).digest('hex');
    return value;
  }

  /** A path that begins with `~` lies in the user's home folder. */
  atHome(path: string): string {
    return /^~($|\/)/.test(path) ? atHome(path, this.variable('HOME')) : path;
  }

  hasSecret(name: string): boolean {
    const isSet = variableIn(this.env, name) !== undefined;
    this.answers.secrets[name] = isSet;
    return isSet;
  }

  /** The module of a step that is not built in; undefined where there is none. */
  module(uses: string): string | undefined {
    if (isOwnFile(uses)) {
      const path = resolve(this.folder, this.atHome(uses));
      return /\.[cm]?[jt]s$/.test(path) && existsSync(path) ? path : undefined;
    }
    const [, name, sub] = PACKAGE.exec(uses) ?? [];
    const found = name === undefined ? undefined : packageFolder(name, this.folder);
    const entry = found && packageEntry(found, sub === undefined ? '.' : `.${sub}`);
    return entry !== undefined && existsSync(entry) ? realpathSync(entry) : undefined;
  }

  /** Throws CodeError. */
  async code(uses: string, path: string): Promise<string> {
    const { hash } = await codeOf(path, { root: this.root, keep: !this.readOnly });
    this.answers.modules[uses] = hash;
    return hash;
  }

  /** Whether all is as it was. */
  async agrees({ looks, packages, variables, secrets, modules }: Answers): Promise<boolean> {
    for (const [question, { count, kind }] of Object.entries(looks)) {
      const found = this.look(question.slice(5), question.startsWith('glob '));
      // A third match says no more than a second one.
      if (Math.min(found.count, 2) !== Math.min(count, 2) || found.kind !== kind) return false;
    }
    for (const [name, folder] of Object.entries(packages)) if ((this.packageFolder(name) ?? null) !== folder) return false;
    for (const [name, hash] of Object.entries(variables)) {
      this.variable(name);
      if (this.answers.variables[name] !== hash) return false;
    }
    for (const [name, isSet] of Object.entries(secrets)) if (this.hasSecret(name) !== isSet) return false;
    for (const [uses, hash] of Object.entries(modules)) {
      const path = this.module(uses);
      if (path === undefined) return false;
      try {
        if ((await this.code(uses, path)) !== hash) return false;
      } catch (error) {
        if (error instanceof CodeError) return false;
        throw error;
      }
    }
    return true;
  }
}

/** Of a variable; one may be named like what every object has. */
export function variableIn(env: NodeJS.ProcessEnv, name: string): string | undefined {
  return Object.hasOwn(env, name) ? env[name] : undefined;
}

/** A file of the user's, not a package. */
export function isOwnFile(uses: string): boolean {
  return /^(\.{1,2}|~)([\\/]|$)/.test(uses) || isAbsolute(uses);
}

/** `@scope/name/sub`: the package, and what stands behind it. */
export const PACKAGE = /^((?:@[\w.~-]+\/)?[\w.~-]+)(\/.+)?$/;

function lookAt(path: string): Look {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat ? { count: 1, kind: stat.isDirectory() ? 'folder' : 'file' } : { count: 0 };
  } catch {
    return { count: 0 }; // a folder on the way cannot be read
  }
}
