/** When a cached pipeline is read again: a new file that takes the place of an imported one, and a new version of a package. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

test("a new file that takes the place of an imported one is detected, and a package's new version", async () => {
  const p = project({
    'p.yaml': 'steps: { b: { uses: ./own.ts } }\n',
    'own.ts':
      "import { writeFileSync } from 'node:fs';\nimport { m } from './m';\nimport dep from 'dep';\nexport default { name: 'own', version: 1, outputs: { o: 'file' }, run: ({ outputs }: any) => writeFileSync(outputs.o, String([m, dep])) };\n",
    'm.js': 'export const m = 1;\n',
    'node_modules/dep/package.json': '{"name": "dep", "version": "1.0.0", "main": "i.js"}',
    'node_modules/dep/i.js': 'module.exports = 1;',
  });
  const state = async () => (await p.states('p.yaml')).cells.b;
  expect(await state()).toBe('ran');
  expect(await state()).toBe('fresh');
  p.write('m.ts', 'export const m = 2;\n');
  expect(await state()).toBe('ran');
  expect(await state()).toBe('fresh');
  p.write('node_modules/dep/package.json', '{"name": "dep", "version": "1.0.1", "main": "i.js"}');
  expect(await state()).toBe('ran');
  expect(await state()).toBe('fresh');
  p.remove('m.ts');
  p.remove('m.js');
  expect((await p.run('run', 'p.yaml')).code).toBe(2);
});
