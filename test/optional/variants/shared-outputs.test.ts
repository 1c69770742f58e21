/** Pipelines whose names are the same on some file systems. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const OWN = `export default { name: 'own', version: 1, outputs: { o: 'file' }, run: async ({ outputs, options }) => (await import('node:fs')).writeFileSync(outputs.o, String(options.n)), options: { n: { type: 'number' } } };`;

const pipeline = (n: number, head = '') => `${head}steps: { a: { uses: ../own.mjs, with: { n: ${n} } } }\n`;

test('names of pipelines that macOS and Windows treat as equal are refused, too', async () => {
  const p = project({ 'package.json': '{}', 'own.mjs': OWN, 'exp1/train.yaml': pipeline(1), 'exp2/Train.yaml': pipeline(2) });
  expect((await p.states('exp1/train.yaml')).cells).toEqual({ a: 'ran' });
  const { code, screen } = await p.run('run', 'exp2/Train.yaml');
  expect({ code, screen }).toMatchObject({
    code: 2,
    screen: expect.stringContaining('exp1/train.yaml and exp2/Train.yaml have names that differ only in case, train and Train, so'),
  });
});

test('x.yaml and x.yml do not overwrite the lockfile of each other', async () => {
  const shell = 'steps: { a: { run: "echo > ${{ outputs.o }}", outputs: { o: o.txt } } }';
  const p = project({ 'package.json': '{}', 'x.yaml': shell, 'y.yaml': shell, 'y.yml': 'services: {}\n' });
  expect((await p.states('x.yaml')).cells).toEqual({ a: 'ran' });
  p.write('x.yml', shell);
  for (const [command, file] of [
    ['run', 'x.yml'],
    ['status', 'x.yaml'],
    ['validate', 'x.yml'],
  ] as const) {
    const { code, screen } = await p.run(command, file);
    expect({ code, screen }, command).toMatchObject({
      code: 2,
      screen: expect.stringContaining("would overwrite each other's lockfile, x.lock"),
    });
  }
  expect((await p.run('validate', 'y.yaml')).code).toBe(0);
});
