/**
 * A fresh project in a temporary folder, and the real CLI to drive in it.
 *
 *   const project = rig({ 'p.yaml': 'steps: …' });
 *   const { code, screen } = await project.tunesmith('run', 'p.yaml');
 *   const { summary } = await project.run('p.yaml');        // the same with --json, parsed
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import type { RunEvent } from '../engine/events.ts';

export const root = resolve(import.meta.dirname, '..');
const cli = join(root, 'dist/engine/cli.js');

export type Files = Record<string, string | Uint8Array>;
export type Summary = Extract<RunEvent, { type: 'summary' }>;
export type Plan = Extract<RunEvent, { type: 'plan' }>;
export type Mistake = Extract<RunEvent, { type: 'error' }>;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Both, as a person sees them, with times, folders and process ids made equal: for comparing whole screens. */
  screen: string;
}

export interface EndedRun extends Ended {
  events: RunEvent[];
  /** The event at the end. Throws where the command ended otherwise. */
  summary: Summary;
  plan: Plan;
  mistakes: Mistake[];
}

export interface Started {
  pid: number;
  stdin: Writable;
  ended: Promise<Ended>;
  /** Resolves once its output so far matches. */
  until(pattern: RegExp): Promise<string>;
  signal(signal: NodeJS.Signals): void;
}

export interface Project {
  folder: string;
  path(name: string): string;
  write(files: Files): void;
  read(name: string): string;
  exists(name: string): boolean;
  remove(name: string): void;
  /** Runs a command to its end. */
  tunesmith(...args: (string | CommandOptions)[]): Promise<Ended>;
  /** Starts a command, to be signalled or watched. */
  start(...args: (string | CommandOptions)[]): Started;
  /** `tunesmith run … --json`, parsed. */
  run(...args: (string | CommandOptions)[]): Promise<EndedRun>;
}

export interface CommandOptions {
  env?: Record<string, string | undefined>;
  /** Relative to the project. */
  cwd?: string;
  stdin?: string;
}

/** Removed when the test ends. `package.json` marks the project root unless `bare`. */
export function rig(files: Files = {}, { bare = false }: { bare?: boolean } = {}): Project {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-test-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

  const path = (name: string) => join(folder, name);
  const write = (written: Files) => {
    for (const [name, content] of Object.entries(written)) {
      mkdirSync(dirname(path(name)), { recursive: true });
      writeFileSync(path(name), content);
    }
  };
  if (!bare) write({ 'package.json': '{ "private": true }\n' });
  write(files);

  const start = (...words: (string | CommandOptions)[]): Started => {
    const args = words.filter((word) => typeof word === 'string');
    const { env = {}, cwd = '.', stdin }: CommandOptions = Object.assign({}, ...words.filter((word) => typeof word !== 'string'));
    const child = spawn(process.execPath, [cli, ...args], {
      cwd: path(cwd),
      env: {
        ...process.env,
        TUNESMITH_CACHE: undefined,
        NODE_OPTIONS: undefined,
        CI: undefined,
        FORCE_COLOR: undefined,
        NO_COLOR: '1',
        ...env,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin.on('error', () => {}); // it may end without reading
    if (stdin !== undefined) child.stdin.end(stdin);
    onTestFinished(() => void child.kill('SIGKILL'));
    return watch(child, folder);
  };

  const tunesmith = (...args: (string | CommandOptions)[]) => {
    const started = start(...args);
    started.stdin.end();
    return started.ended;
  };

  return {
    folder,
    path,
    write,
    read: (name) => readFileSync(path(name), 'utf8'),
    exists: (name) => existsSync(path(name)),
    remove: (name) => rmSync(path(name), { recursive: true, force: true }),
    start,
    tunesmith,
    run: async (...args) => parsed(await tunesmith('run', ...args, '--json')),
  };
}

/** Parses what a command with --json printed. */
export function parsed(ended: Ended): EndedRun {
  const events = ended.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as RunEvent);
  const last = <T extends RunEvent['type']>(type: T) => {
    const event = events.at(-1);
    if (event?.type !== type)
      throw new Error(
        `ended with ${event?.type ?? 'no event'}, not ${type} (exit ${ended.code})\n${ended.stdout.slice(-4000)}${ended.stderr}`,
      );
    return event as Extract<RunEvent, { type: T }>;
  };
  return {
    ...ended,
    events,
    get summary() {
      return last('summary');
    },
    get plan() {
      return last('plan');
    },
    mistakes: events.filter((event) => event.type === 'error'),
  };
}

/** Times, the project's folder, process ids and bug-report names differ from run to run. */
export function normalized(text: string, folder: string): string {
  return text
    .replaceAll(folder, '<project>')
    .replaceAll(root, '<tunesmith>')
    .replace(/\b(\d+h \d\dm|\d+m \d\ds|\d+(\.\d+)? s)\b/g, '<time>')
    .replace(/process \d+/g, 'process <pid>');
}

function watch(child: ChildProcessByStdio<Writable, Readable, Readable>, folder: string): Started {
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  const heard = () => {
    for (const watcher of watchers) watcher();
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    heard();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    heard();
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout, stderr, screen: normalized(stdout + stderr, folder) });
      heard();
    });
  });
  return {
    pid: child.pid!,
    stdin: child.stdin,
    ended,
    signal: (signal) => void child.kill(signal),
    until: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const output = stdout + stderr;
          if (pattern.test(output)) resolve(output);
          else if (child.exitCode !== null || child.signalCode !== null) reject(new Error(`ended before it said ${pattern}:\n${output}`));
          else return;
          watchers.delete(look);
        };
        watchers.add(look);
        look();
      }),
  };
}
