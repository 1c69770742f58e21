/**
 * A fresh project in a temporary folder, and the real CLI to drive in it.
 *
 *   const p = project({ 'p.yaml': 'steps: …' });
 *   const { code, screen } = await p.run('run', 'p.yaml');
 *   const { cells } = await p.states('p.yaml');        // `run p.yaml --json`: the state of each cell
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { afterAll, onTestFinished } from 'vitest';
import type { RunEvent } from '../engine/contract/events.ts';

export const root = resolve(import.meta.dirname, '..');
const cli = join(root, 'dist/engine/cli.js');

export type Files = Record<string, string | Uint8Array>;

export interface Ended {
  /** As a shell reports it: 128 + the signal's number for one that a signal ended. */
  code: number;
  stdout: string;
  stderr: string;
  /** Both, with times, folders and process ids made equal: for comparing whole screens. */
  screen: string;
  /** What --json printed; empty where stdout holds anything but JSON lines. */
  events: any[];
}

export interface Started {
  pid: number;
  kill(signal: NodeJS.Signals): void;
  /** What it printed so far. */
  output(): string;
  done: Promise<Ended>;
}

export type Project = ReturnType<typeof projectUntil>;

type Environment = Record<string, string | undefined>;

/** Removed when the test ends. `env` is added to the environment of every command, undefined removes; change it at will. */
export const project = (files: Files = {}, env: Environment = {}): Project => projectUntil(onTestFinished, files, env);

/** For all tests of a file, and removed after them: what takes long is done once, in `beforeAll`. Call it outside of tests. */
export function sharedProject(files: Files = {}, env: Environment = {}): Project {
  const endings: (() => void)[] = [];
  afterAll(() => {
    for (const end of endings.reverse()) end();
  });
  return projectUntil((end) => endings.push(end), files, env);
}

function projectUntil(whenOver: (end: () => void) => void, files: Files, env: Environment) {
  const folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'tunesmith-test-')));
  whenOver(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

  const path = (name: string) => resolve(folder, name);
  let user: number | undefined;

  const write = (name: string, content: string | Uint8Array) => {
    fs.mkdirSync(dirname(path(name)), { recursive: true });
    fs.writeFileSync(path(name), content);
  };
  for (const [name, content] of Object.entries(files)) write(name, content);

  /** Files below a folder, links included, by path from the project; with `all` the folders too. */
  const find = (name: string, { all = false } = {}): string[] =>
    fs.existsSync(path(name))
      ? fs
          .readdirSync(path(name), { recursive: true, withFileTypes: true })
          .filter((entry) => all || !entry.isDirectory())
          .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
          .sort()
      : [];

  /** Every file, folder and link with its content, mode and mtime: equal only where nothing was touched. */
  const snapshot = (): Record<string, string> =>
    Object.fromEntries(
      find('.', { all: true }).map((name) => {
        const stat = fs.lstatSync(path(name));
        const content = stat.isFile() ? fs.readFileSync(path(name)) : stat.isSymbolicLink() ? fs.readlinkSync(path(name)) : '';
        return [name, `${stat.mode.toString(8)} ${stat.mtimeMs} ${createHash('sha256').update(content).digest('hex')}`];
      }),
    );

  const startIn = (cwd: string, args: string[], stdin = ''): Started => {
    const [program, ...before] = user === undefined ? [process.execPath] : [...asUser(user), process.execPath];
    const child = spawn(program!, [...before, cli, ...args], {
      cwd: path(cwd),
      env: { ...process.env, ...NEUTRAL, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin.on('error', () => {}); // it may end without reading
    child.stdin.end(stdin);
    whenOver(() => void child.kill('SIGKILL'));
    const printed = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        printed[stream] += text;
      });
    }
    const done = new Promise<Ended>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        const { stdout, stderr } = printed;
        resolve({
          code: code ?? 128 + (SIGNALS[signal!] ?? 0),
          stdout,
          stderr,
          screen: normalized(stdout + stderr, folder),
          events: eventsIn(stdout),
        });
      });
    });
    return { pid: child.pid!, kill: (signal) => void child.kill(signal), output: () => printed.stdout + printed.stderr, done };
  };

  return {
    folder,
    env,
    /** From here on commands run as an unprivileged user, from whom root would hide faults of permission. What is there becomes theirs. */
    unprivileged(): void {
      if (process.getuid?.() !== 0) return;
      user = NOBODY;
      for (const name of ['.', ...find('.', { all: true })]) fs.lchownSync(path(name), user, user);
    },
    path,
    write,
    find,
    snapshot,
    read: (name: string) => fs.readFileSync(path(name), 'utf8'),
    exists: (name: string) => fs.existsSync(path(name)),
    stat: (name: string) => fs.statSync(path(name)),
    remove: (name: string) => fs.rmSync(path(name), { recursive: true, force: true }),

    /** Starts a command, to be signalled or watched. */
    start: (...args: string[]) => startIn('.', args),
    run: (...args: string[]) => startIn('.', args).done,
    runIn: (cwd: string, ...args: string[]) => startIn(cwd, args).done,
    feed: (stdin: string, ...args: string[]) => startIn('.', args, stdin).done,

    /** `run FILE --json`, with the state that each cell ended in. */
    async states(file: string, ...args: string[]): Promise<Ended & { cells: Record<string, string> }> {
      const ended = await startIn('.', ['run', file, '--json', ...args]).done;
      const summary = ended.events.at(-1) as RunEvent | undefined;
      if (summary?.type !== 'summary') throw new Error(`no summary (exit ${ended.code}):\n${ended.stdout.slice(-4000)}${ended.stderr}`);
      return { ...ended, cells: summary.cells };
    },

    /** Waits for something that a command does meanwhile. */
    async until(holds: () => boolean, seconds = 60): Promise<void> {
      const end = Date.now() + seconds * 1000;
      while (!holds()) {
        if (Date.now() > end) throw new Error(`waited ${seconds} s in vain for ${holds}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

const NOBODY = 65534;

function asUser(id: number): string[] {
  return ['setpriv', `--reuid=${id}`, `--regid=${id}`, '--clear-groups'];
}

/** What differs from run to run and from machine to machine. */
export function normalized(text: string, folder: string): string {
  return text
    .replaceAll(folder, '<project>')
    .replaceAll(root, '<tunesmith>')
    .replace(/(\b\d+h \d\dm|\b\d+m \d\ds|<?\b\d+(\.\d+)? s)\b/g, '<time>')
    .replace(/process \d+/g, 'process <pid>');
}

/** What must not decide a test: the machine's own cache, colours, CI. */
const NEUTRAL = {
  TUNESMITH_CACHE: undefined,
  TUNESMITH_HOME: undefined,
  NODE_OPTIONS: undefined,
  CI: undefined,
  FORCE_COLOR: undefined,
  NO_COLOR: '1',
};

const SIGNALS: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 };

function eventsIn(stdout: string): any[] {
  try {
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}
