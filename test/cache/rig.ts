/** A new folder for each test, caches in it, and child processes that use the cache as an engine does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, onTestFinished } from 'vitest';
import { type Cache, type OpenOptions, openCache } from '../../cache/open.ts';

export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tunesmith-cache-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function cacheIn(path: string, options?: OpenOptions): Cache {
  const cache = openCache(path, options);
  onTestFinished(() => cache.close());
  return cache;
}

/** Writes files by relative path. A name that ends in `/` is an empty folder. */
export function write(root: string, files: Record<string, string | Buffer>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (!name.endsWith('/')) writeFileSync(path, content);
  }
}

const here = dirname(fileURLToPath(import.meta.url));

/**
 * Compiles `engine.ts` of this folder, so that a child starts in milliseconds. Call it once, outside of tests. Returns
 * the path of the script.
 */
export async function compileEngine(): Promise<string> {
  const out = mkdtempSync(join(tmpdir(), 'tunesmith-engine-'));
  afterAll(() => rmSync(out, { recursive: true, force: true }));
  symlinkSync(join(here, '../../node_modules'), join(out, 'node_modules'));
  await build({
    entryPoints: [join(here, 'engine.ts'), join(here, '../../cache/digest-worker.ts')],
    outdir: out,
    entryNames: '[name]',
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    outExtension: { '.js': '.js' },
  });
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  return join(out, 'engine.js');
}

export interface Child {
  process: ChildProcess;
  /** Resolves with the next line of output. */
  line(): Promise<string>;
  ended: Promise<{ code: number | null; output: string }>;
}

export function start(script: string, args: string[], options: { uid?: number } = {}): Child {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  let output = '';
  let rest = '';
  child.stderr!.on('data', (data) => {
    output += data;
  });
  child.stdout!.on('data', (data) => {
    output += data;
    const parts = (rest + data).split('\n');
    rest = parts.pop()!;
    for (const line of parts) {
      const next = waiting.shift();
      if (next) next(line);
      else lines.push(line);
    }
  });
  const ended = new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on('close', (code) => {
      for (const next of waiting) next('');
      resolve({ code, output });
    });
  });
  const line = () => (lines.length > 0 ? Promise.resolve(lines.shift()!) : new Promise<string>((resolve) => waiting.push(resolve)));
  return { process: child, line, ended };
}
