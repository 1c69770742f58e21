/** Steps and workers that hang, die or ignore SIGTERM: the next run is immediately like a clean run. */
import { expect, test } from 'vitest';
import { faulty } from '../../engine/chaos/rig.ts';

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
