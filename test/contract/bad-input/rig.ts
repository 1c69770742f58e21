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
  const plain = await p.run(...args, '--plain');
  expect([plain.code, plain.stdout], plain.screen).toEqual([2, '']);
  expect(plain.screen).not.toMatch(STACK);
  expect(p.snapshot()).toEqual(before);
  return screenOf(plain.screen);
}

/** The same errors as lines of JSON, which come from the same objects: compared for some pipelines. */
export async function expectAsJson(yaml: string, files: Files = {}, ...args: string[]): Promise<void> {
  const p = project({ 'p.yaml': yaml, 'table/data.parquet': '', 'base/config.json': '', ...files });
  const [plain, json] = await Promise.all([p.run('run', 'p.yaml', ...args, '--plain'), p.run('run', 'p.yaml', ...args, '--json')]);
  expect([json.code, json.stderr]).toEqual([2, '']);
  const heads = plain.stderr.split('\n').filter((line) => /^\S.*error: |^error: /.test(line));
  const told = json.events.map(({ type, file, line, column, message, ...more }) => {
    expect([type, more]).toEqual(['error', {}]);
    const place = [file, ...(line > 0 ? [line, column] : [])].filter((part) => part !== '').join(':');
    return `${place === '' ? '' : `${place}: `}error: ${message.split('\n', 1)[0]}`;
  });
  expect(heads.length).toBeGreaterThan(0);
  expect(told).toEqual(heads);
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
