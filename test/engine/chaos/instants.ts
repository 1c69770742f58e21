/**
 * Faults at instants throughout a run, which take long: `npm test` tries some of them, and test/optional/chaos.test.ts tries
 * all.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openCache } from '../../../cache/open.ts';
import { faulty, instants, type Project, plug, SMALL, tree, unplugged } from './rig.ts';

export const FULL_EVERY = 37;

/** A disk that is full from every so many instants on. */
export async function fullFrom(every: number): Promise<void> {
  const model = faulty();
  const count = await instants(model);
  const clean = tree(model);
  const told = new Set<string>();
  for (let at = 3; at <= count; at += every) {
    const p = faulty();
    Object.assign(p.env, plug('full', at));
    const full = await p.run('run', 'p.yaml', '--plain');
    // If nothing is written after that instant, the run may succeed.
    expect([0, 1], `full from ${at}: ${full.screen}`).toContain(full.code);
    if (full.code === 1) expect(full.screen, `full from ${at}`).toMatch(/disk (is )?full/);
    told.add(String(full.code));
    Object.assign(p.env, unplugged);
    const { code, screen } = await p.run('run', 'p.yaml', '--plain');
    expect(code, `full from ${at}: ${screen}`).toBe(0);
    expect(tree(p), `full from ${at}`).toEqual(clean);
  }
  expect(told).toContain('1');
}

export const KILLS = [
  ['kill', 'runs'],
  ['power', 'runs'],
  ['kill', 'restores'],
] as const;

/** Kills at every `thinned`-th of the instants that are tried. */
export async function killedAt(what: 'kill' | 'power', how: 'runs' | 'restores', thinned = 1): Promise<void> {
  const ready = faulty(SMALL);
  for (const text of how === 'runs' ? ['first\n'] : ['second\n', 'first\n']) {
    ready.write('in.txt', text);
    await ready.run('run', 'p.yaml');
  }
  ready.write('in.txt', 'second\n');
  const model = copyOf(ready);
  const count = await instants(model);
  const clean = tree(model);
  // Another start for each kind, so that together they cover most instants.
  for (let at = what === 'kill' ? 2 : 7; at <= count; at += (how === 'runs' ? 23 : 5) * thinned) {
    const p = copyOf(ready);
    Object.assign(p.env, plug(what, at));
    // The run may finish if it has fewer instants.
    expect([137, ...(at > count - 3 ? [0] : [])], `${what} at ${at}`).toContain((await p.run('run', 'p.yaml', '--plain')).code);
    Object.assign(p.env, unplugged);
    await expectWhole(p.folder);
    const { code, screen } = await p.run('run', 'p.yaml', '--plain');
    expect(code, `${what} at ${at}: ${screen}`).toBe(0);
    expect(screen).not.toContain('waiting for another run');
    expect(tree(p), `${what} at ${at}`).toEqual(clean);
    // A file at an output's path after a kill may be the user's, so it is saved and reported.
    if (p.find('.tunesmith/kept').length > 0) expect(screen, `${what} at ${at}`).toContain('interrupted in an earlier run');
    expect([...p.find('.tunesmith/work', { all: true }), ...p.find('.tunesmith/tmp', { all: true })]).toEqual([]);
    expect((await p.states('p.yaml')).cells).toEqual({ file: 'fresh', folder: 'fresh' });
  }
}

function copyOf({ folder }: Project): Project {
  const p = faulty({});
  cpSync(folder, p.folder, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  return p;
}

/** Every result in the index has its objects, without repairs by the next run. */
async function expectWhole(folder: string): Promise<void> {
  const cache = openCache(join(folder, '.tunesmith'), { readOnly: true });
  const results = ['file', 'folder'].flatMap((cell) => cache.index.history(`p.yaml ${cell}`, 10));
  expect(results.length).toBeGreaterThan(0);
  for (const { outputs } of results) expect(await cache.objects.state(outputs.o!)).toBe('ok');
  cache.close();
}
