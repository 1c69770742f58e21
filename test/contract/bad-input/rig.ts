/** Errors with the real CLI: each test compares the whole screen. */
import { expect } from 'vitest';
import { type Files, project } from '../../rig.ts';

export type Project = ReturnType<typeof project>;

/**
 * The screen of `run p.yaml --plain` with an invalid pipeline. Checks that nothing is run, written or moved. The project
 * has folders to use as inputs.
 */
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
  // The same errors as lines of JSON.
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

/** The screen of `run p.yaml --plain` when a step fails. */
export async function failure(p: Project, ...args: string[]): Promise<string> {
  const { code, screen } = await p.run('run', 'p.yaml', '--plain', ...args);
  expect(code, screen).toBe(1);
  expect(screen).not.toMatch(STACK);
  return screenOf(screen);
}

/** Lines of a stack trace. */
export const STACK = /^\s*at .*[:(]\S+:\d+:\d+\)?$|node:internal/m;

/** Prefixed with a newline, so that the expected text begins at the margin. */
function screenOf(screen: string): string {
  return `\n${screen.trimEnd()}\n`;
}
