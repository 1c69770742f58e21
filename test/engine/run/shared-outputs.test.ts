/** Two pipelines with the same name in one project: the second one is refused, with both paths. */
import { renameSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const OWN = `export default { name: 'own', version: 1, outputs: { o: 'file' }, run: async ({ outputs, options }) => (await import('node:fs')).writeFileSync(outputs.o, String(options.n)), options: { n: { type: 'number' } } };`;

const pipeline = (n: number, head = '') => `${head}steps: { a: { uses: ../own.mjs, with: { n: ${n} } } }\n`;

test('two pipelines with the same name do not overwrite each other', async () => {
  const p = project({
    'package.json': '{}',
    'own.mjs': OWN,
    'exp1/train.yaml': pipeline(1),
    'exp2/train.yaml': pipeline(2),
    'exp3/other.yaml': pipeline(3, 'name: "train" # as the first\n'),
    'exp4/train.yaml': 'steps: { a: { run: "echo > ${{ outputs.o }}", outputs: { o: o.txt } } }',
    'exp5/train.yaml': pipeline(5, 'name: train5\n'),
  });
  expect((await p.states('exp1/train.yaml')).cells).toEqual({ a: 'ran' });
  for (const file of ['exp2/train.yaml', 'exp3/other.yaml']) {
    for (const command of ['run', 'status']) {
      const { code, screen } = await p.run(command, file);
      expect({ code, screen }).toMatchObject({
        code: 2,
        screen: expect.stringContaining(`exp1/train.yaml and ${file} have the same name, train`),
      });
    }
  }
  // The hint names the folder, also if it is the project's.
  p.write('train.yaml', pipeline(1).replace('../own', './own'));
  expect((await p.run('run', 'exp2/train.yaml')).screen).toContain('`name: exp2-train`');
  expect((await p.run('run', 'train.yaml')).screen).toContain(`\`name: ${basename(p.path('.'))}-train\` in train.yaml`);
  expect(p.read('.tunesmith/outputs/train/a/o')).toBe('1');
  // Without outputs in tunesmith's own folder, nothing is shared.
  expect((await p.states('exp4/train.yaml')).cells).toEqual({ a: 'ran' });
  expect((await p.states('exp5/train.yaml')).cells).toEqual({ a: 'ran' });
  expect((await p.states('exp1/train.yaml')).cells).toEqual({ a: 'fresh' });
  // A renamed pipeline keeps its outputs.
  renameSync(p.path('exp1/train.yaml'), p.path('exp1/renamed.yaml'));
  p.write('exp1/renamed.yaml', pipeline(1, 'name: train\n'));
  expect((await p.states('exp1/renamed.yaml')).cells).toEqual({ a: 'fresh' });
});
