/** `tunesmith doctor`: what is installed, what is used, what else to install. Exits with 1 if a required part does not work. */

import { execFile } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { arch, availableParallelism, constants, freemem, platform, release, totalmem } from 'node:os';
import { libraries, setup as setups } from '../../steps/registry.ts';
import { usage } from '../contract/errors.ts';
import { memoryLimit } from '../contract/memory-limit.ts';
import { colorsFor, printableJson, printLines } from '../format/terminal-text.ts';
import { clip, duration, oneLine, pad, width } from '../format/text.ts';
import { interruptions } from './exit-code.ts';

type Check = Awaited<ReturnType<Awaited<ReturnType<typeof libraries>>['checkLibraries']>>[number];

export async function doctor({ json = false }: { json?: boolean }): Promise<number> {
  const { checkLibraries } = await libraries();
  const [npm, sqlite, others] = await Promise.all([checkNpm(), checkSqlite(), checkLibraries()]);
  const { bavail, bsize } = statfsSync('.');
  const checks: Check[] = [
    // cli.ts has already refused a Node that is too old.
    { name: 'Node', state: 'ok', detail: `${process.versions.node} (${process.execPath})`, needed: true },
    npm,
    checkMachine(),
    { name: 'disk', state: 'ok', detail: `${gigabytes(bavail * bsize)} free here`, needed: false },
    sqlite,
    ...others,
  ];
  printLines(json ? [printableJson({ checks })] : lines(checks));
  return checks.some(({ needed, state }) => needed && state !== 'ok') ? 1 : 0;
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

/* `tunesmith setup tensorflow`: installs what npm cannot. */

export async function setup(what: string, { gpu = false, cpu = false }: { gpu?: boolean; cpu?: boolean }): Promise<number> {
  if (what !== 'tensorflow') throw usage(`setup cannot install "${what}"`, 'tunesmith setup tensorflow');
  if (gpu && cpu) throw usage('--gpu and --cpu cannot be used together', 'tunesmith setup tensorflow [--gpu | --cpu]');
  const began = performance.now();
  const say = (line: string) => printLines([`${duration((performance.now() - began) / 1000).padStart(7)}  ${line}`]);
  const interrupted = interruptions(() => say('stopping…'));
  try {
    const { setUpTensorflow } = await setups();
    await setUpTensorflow(gpu ? 'cuda' : cpu ? 'cpu' : undefined, say, interrupted.signal);
    return 0;
  } catch (error) {
    if (!interrupted.by) throw error;
    say('interrupted; run the same command again to resume the download');
    return 128 + constants.signals[interrupted.by];
  } finally {
    interrupted.release();
  }
}
