/** `tunesmith doctor`: what is installed, what is used, what else to install. Exits with 1 if a required part does not work. */

import { execFile } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { arch, availableParallelism, freemem, platform, release, totalmem } from 'node:os';
import { memoryLimit } from '../memory-limit.ts';
import { printableJson } from '../printable.ts';
import { libraries } from '../registry.ts';
import { colorsFor } from '../report/colors.ts';
import { printLines } from '../report/print.ts';
import { clip, oneLine, pad, width } from '../report/text.ts';

type Check = Awaited<ReturnType<Awaited<ReturnType<typeof libraries>>['checkLibraries']>>[number];

export default async function doctor({ json = false }: { json?: boolean }): Promise<number> {
  const { checkLibraries } = await libraries();
  const [npm, sqlite, others] = await Promise.all([checkNpm(), checkSqlite(), checkLibraries()]);
  const checks: Check[] = [checkNode(), npm, checkMachine(), checkDisk(), sqlite, ...others];
  printLines(json ? [printableJson({ checks })] : lines(checks));
  return checks.some(({ needed, state }) => needed && state !== 'ok') ? 1 : 0;
}

/** cli.ts has already refused a Node that is too old. */
function checkNode(): Check {
  return { name: 'Node', state: 'ok', detail: `${process.versions.node} (${process.execPath})`, needed: true };
}

function checkNpm(): Promise<Check> {
  return new Promise((resolve) => {
    execFile('npm', ['--version'], (error, stdout) =>
      resolve({
        name: 'npm',
        needed: false,
        ...(error ? { state: 'missing', detail: 'not on PATH' } : { state: 'ok', detail: stdout.trim() }),
      }),
    );
  });
}

function checkMachine(): Check {
  const limit = memoryLimit();
  const granted = limit < totalmem() ? `, of which this container may use ${gigabytes(limit)}` : '';
  const memory = `${gigabytes(totalmem())} of memory, ${gigabytes(freemem())} free${granted}`;
  const cores = availableParallelism();
  return {
    name: 'machine',
    state: 'ok',
    detail: `${platform()} ${release()} ${arch()}, ${cores} ${cores === 1 ? 'core' : 'cores'}, ${memory}`,
    needed: false,
  };
}

function checkDisk(): Check {
  const { bavail, bsize } = statfsSync('.');
  return { name: 'disk', state: 'ok', detail: `${gigabytes(bavail * bsize)} free here`, needed: false };
}

async function checkSqlite(): Promise<Check> {
  const check = { name: 'better-sqlite3', needed: true };
  try {
    const { default: Database } = await import('better-sqlite3');
    const version = new Database(':memory:').prepare('select sqlite_version()').pluck().get();
    return { ...check, state: 'ok', detail: `SQLite ${version} (the cache's index, records of runs)` };
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    const detail = oneLine((error as Error).message.split('\n', 1)[0]!);
    return { ...check, state: missing ? 'missing' : 'broken', detail, next: missing ? 'npm install' : 'npm rebuild better-sqlite3' };
  }
}

function lines(checks: Check[]): string[] {
  const colors = colorsFor(process.stdout);
  const paint = { ok: colors.green, missing: colors.yellow, broken: colors.red };
  const names = Math.max(...checks.map(({ name }) => width(name)));
  const room = (process.stdout.columns || 200) - 9 - names - 2;
  const rows = checks.map(({ name, state, detail }) =>
    `${paint[state](pad(state, 9))}${pad(name, names)}  ${clip(oneLine(detail), room)}`.trimEnd(),
  );
  const next = [...new Set(checks.flatMap(({ state, next }) => (state !== 'ok' && next ? [next] : [])))];
  return [...rows, ...(next.length > 0 ? ['', 'to install more:', ...next.map((command) => `  ${command}`)] : [])];
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
