/** Mistakes through the real CLI: each test compares the whole screen. */
import { expect } from 'vitest';
import type { Files } from '../../rig.ts';
import { project } from '../../rig.ts';

export type Project = ReturnType<typeof project>;

/** What `run p.yaml --plain` says of an invalid pipeline; nothing may be run, written or moved for it. Beside it lie folders to name as inputs. */
export async function refusal(yaml: string | Uint8Array, files: Files = {}, ...args: string[]): Promise<string> {
  return refusalIn(project({ 'p.yaml': yaml, 'table/data.parquet': '', 'base/config.json': '', ...files }), 'run', 'p.yaml', ...args);
}

export async function refusalIn(p: Project, ...args: string[]): Promise<string> {
  const before = p.snapshot();
  const [plain, json] = await Promise.all([p.run(...args, '--plain'), p.run(...args, '--json')]);
  expect([plain.code, json.code], plain.screen).toEqual([2, 2]);
  expect(plain.stdout).toBe('');
  expect(json.stderr).toBe('');
  expect(plain.screen).not.toMatch(STACK);
  // The same mistakes, one line of JSON each.
  const heads = plain.stderr.split('\n').filter((line) => /^\S.*error: |^error: /.test(line));
  const told = json.events.map(({ type, file, line, column, message, ...more }) => {
    expect([type, more]).toEqual(['error', {}]);
    const place = [file, ...(line > 0 ? [line, column] : [])].filter((part) => part !== '').join(':');
    return `${place === '' ? '' : `${place}: `}error: ${message.split('\n', 1)[0]}`;
  });
  expect(told).toEqual(heads);
  expect(p.snapshot()).toEqual(before);
  return screenOf(plain.screen);
}

/** What `run p.yaml --plain` says when a step fails. */
export async function failure(p: Project, ...args: string[]): Promise<string> {
  const { code, screen } = await p.run('run', 'p.yaml', '--plain', ...args);
  expect(code, screen).toBe(1);
  expect(screen).not.toMatch(STACK);
  return screenOf(screen);
}

/** Lines of a stack trace. */
export const STACK = /^\s*at .*[:(]\S+:\d+:\d+\)?$|node:internal/m;

/** Behind a line break, so that the expected text begins at a margin. */
function screenOf(screen: string): string {
  return `\n${screen.trimEnd()}\n`;
}
