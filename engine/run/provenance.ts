/** The environment of a run for its record: git commit, machine, versions. Errors here must not fail the run. */

import { execFile } from 'node:child_process';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, release, type } from 'node:os';
import { dirname, join } from 'node:path';
import type { Pipeline } from '../cell.ts';
import { packageFolder, packageVersion } from '../files/packages.ts';
import type { Json } from '../format/scalars.ts';
import { memoryLimit } from '../memory-limit.ts';

export interface Provenance {
  params: Record<string, Json>;
  machine: MachineInfo;
  /** Versions of tunesmith, Node and tunesmith's dependencies. */
  versions: Record<string, string>;
}

export interface MachineInfo {
  system: string;
  cpu: string;
  cores: number;
  /** Memory limit in bytes. */
  memory: number;
}

export interface Git {
  commit: string;
  /** Whether tracked files differ from that commit. */
  dirty: boolean;
}

export function provenanceOf({ params }: Pipeline): Provenance {
  const machine = { system: `${type()} ${release()} ${arch()}`, cpu: cpuModel(), cores: availableParallelism(), memory: memoryLimit() };
  return { params, machine, versions: ownVersions() };
}

/** Undefined if there is no repository, no commit or no git. */
export async function gitState(folder: string, signal: AbortSignal): Promise<Git | undefined> {
  // Starting git in vain would take a large part of a run in which all cells are fresh.
  if (process.env.GIT_DIR === undefined && !isInRepository(folder)) return undefined;
  const args = ['--no-optional-locks', 'status', '--porcelain=v2', '--branch', '--untracked-files=no'];
  return new Promise((resolve) => {
    execFile('git', args, { cwd: folder, signal, maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: 'C' } }, (error, stdout) => {
      const commit = /^# branch\.oid ([\da-f]{40,64})$/m.exec(stdout)?.[1];
      resolve(error || commit === undefined ? undefined : { commit, dirty: /^[^#]/m.test(stdout) });
    });
  });
}

function isInRepository(folder: string): boolean {
  return existsSync(join(folder, '.git')) || (dirname(folder) !== folder && isInRepository(dirname(folder)));
}

function ownVersions(): Record<string, string> {
  const { version, dependencies } = createRequire(import.meta.url)('tunesmith/package.json') as {
    version: string;
    dependencies: Record<string, string>;
  };
  const versions: Record<string, string> = { tunesmith: version, node: process.versions.node };
  for (const name of Object.keys(dependencies)) {
    const folder = packageFolder(name, import.meta.dirname);
    versions[name] = folder ? packageVersion(folder) : 'not installed';
  }
  return versions;
}

/** Reads /proc/cpuinfo first, because `cpus()` also reads the speed of each core, which is slow for a hundred cores. */
function cpuModel(): string {
  try {
    const file = openSync('/proc/cpuinfo', 'r');
    try {
      const beginning = Buffer.alloc(4096);
      const text = beginning.toString('utf8', 0, readSync(file, beginning, 0, beginning.length, 0));
      const model = /^model name\s*: (.+)$/m.exec(text)?.[1];
      if (model) return model;
    } finally {
      closeSync(file);
    }
  } catch {
    // No such file on this system.
  }
  return cpus()[0]?.model ?? 'unknown';
}
