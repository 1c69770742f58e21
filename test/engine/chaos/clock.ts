/** Wrong clocks: of the machine and of file timestamps. */
import { utimesSync } from 'node:fs';
import { expect } from 'vitest';
import { faulty, SMALL, tree } from './rig.ts';

export const YEAR = 365 * 24;

/** Shifts the engine's clock by that many hours, `after` milliseconds after its start. */
const clock = (hours: number, after = 0) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `const now = Date.now, born = now(); Date.now = () => now() + (now() - born >= ${after} ? ${hours} * 3600e3 : 0);`,
  )}`,
});

/** With that clock a change runs, fresh cells stay fresh, and an edit is detected. */
export async function expectClockWithoutEffect(hours: number, after?: number): Promise<void> {
  const env = clock(hours, after);
  const p = faulty(SMALL);
  await p.run('run', 'p.yaml');
  Object.assign(p.env, env);
  p.write('in.txt', 'second\n');
  expect((await p.states('p.yaml')).cells).toEqual({ file: 'ran', folder: 'ran' });
  p.env.NODE_OPTIONS = undefined;
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
  const clean = tree(p);
  Object.assign(p.env, env);
  // Same length as before.
  p.write('out/file.txt', p.read('out/file.txt').toUpperCase());
  expect((await p.states('p.yaml')).cells).toEqual({ file: 'restored', folder: 'fresh' });
  expect(tree(p)).toEqual(clean);
}

/** With all timestamps equal to each of these, only the content counts. */
export async function expectTimestampsWithoutEffect(stamps: number[]): Promise<void> {
  const p = faulty(SMALL);
  await p.run('run', 'p.yaml');
  const clean = tree(p);
  const files = ['in.txt', 'p.yaml', 'out/file.txt', 'out/folder/deep/file.txt'];
  for (const when of stamps) {
    for (const file of files) utimesSync(p.path(file), when, when);
    expect(new Set(Object.values((await p.states('p.yaml')).cells)), `stamped ${when}`).toEqual(new Set(['fresh']));
    // Another text with the same length and timestamp.
    const text = p.read('in.txt');
    p.write('in.txt', 'FIRST\n');
    utimesSync(p.path('in.txt'), when, when);
    expect((await p.states('p.yaml')).cells.file, `stamped ${when}`).toMatch(/ran|restored/);
    p.write('in.txt', text);
    utimesSync(p.path('in.txt'), when, when);
    expect((await p.states('p.yaml')).cells).toEqual({ file: 'restored', folder: 'restored' });
    expect(tree(p)).toEqual(clean);
  }
}
