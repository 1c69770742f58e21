/**
 * Engines, steps and workers that are killed or hang: the next run is immediately like a clean run. (At random instants:
 * test/optional/chaos.test.ts.)
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openCache } from '../../../cache/open.ts';
import { faulty, instants, type Project, plug, SMALL, tree, unplugged } from './rig.ts';

test.each([
  ['kill', 'runs'],
  ['power', 'runs'],
  ['kill', 'restores'],
] as const)('%s, at instants throughout a run that %s what replaces other outputs', async (what, how) => {
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
  for (let at = what === 'kill' ? 2 : 7; at <= count; at += how === 'runs' ? 23 : 5) {
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
});

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

/** Does `how` once, with grandchildren that all ignore SIGTERM. */
const HANGS = `
name: p
steps:
  worker:
    run: |
      if [ -e how ]; then
        mv how was
        trap '' TERM
        echo half > \${{ outputs.o }}
        (trap '' TERM; while :; do sleep 0.05; echo >> beats; done) &
        case $(cat was) in
          hang) while :; do sleep 1; done ;;
          die) sleep 0.2; kill -9 $$ ;;
        esac
      fi
      echo whole > \${{ outputs.o }}
    timeout: 2s
    outputs: { o: out/o.txt }
`;

test.each([
  ['hang', 'timed out after 2s'],
  ['die', 'killed, probably out of memory'],
])('a worker that should %s: its whole process group ends, the next run is clean', async (how, told) => {
  const p = faulty({ 'package.json': '{}', 'p.yaml': HANGS, how });
  const failed = await p.run('run', 'p.yaml', '--plain');
  expect(failed.code).toBe(1);
  expect(failed.screen).toContain(told);
  expect(p.exists('out/o.txt')).toBe(false);
  const beats = p.read('beats');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(p.read('beats')).toBe(beats);
  expect((await p.states('p.yaml')).cells).toEqual({ worker: 'ran' });
  expect(p.read('out/o.txt')).toBe('whole\n');
});

test('a step that ignores SIGTERM ends at its timeout', async () => {
  const p = faulty({
    'package.json': '{}',
    'p.yaml': 'name: p\nsteps: { busy: { uses: ./busy.mjs, timeout: 1s } }',
    'busy.mjs': `import { existsSync, writeFileSync } from 'node:fs';
export default { name: 'busy', version: 1, outputs: { o: 'file' }, run({ outputs, folder }) {
  writeFileSync(outputs.o, 'half');
  while (existsSync(folder + '/deaf'));
  writeFileSync(outputs.o, 'whole');
} };`,
    deaf: '',
  });
  expect((await p.run('run', 'p.yaml', '--plain')).screen).toContain('timed out after 1s');
  p.remove('deaf');
  p.write('p.yaml', p.read('p.yaml').replace('1s', '60s'));
  expect((await p.states('p.yaml')).cells).toEqual({ busy: 'ran' });
  expect(p.read('.tunesmith/outputs/p/busy/o')).toBe('whole');
});
