/** Steps of packages. */
import { symlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

test('a step from a package, by a path of its exports: its version enters the fingerprint, and a linked package counts as files', async () => {
  const step = (text: string) =>
    `import { writeFileSync } from 'node:fs';\nimport { defineStep } from 'tunesmith';\nexport default defineStep({ name: 's', version: 1, outputs: { o: 'file' }, run: ({ outputs }) => writeFileSync(outputs.o, '${text}') });\n`;
  const manifest = (version: string) =>
    JSON.stringify({
      name: '@acme/steps',
      version,
      type: 'module',
      exports: { './one': { types: './lib/one.d.ts', default: './lib/one.js' } },
    });
  const p = project({
    'p.yaml': 'steps: { a: { uses: "@acme/steps/one" }, b: { uses: linked } }\n',
    'node_modules/@acme/steps/package.json': manifest('1.0.0'),
    'node_modules/@acme/steps/lib/one.js': step('1'),
    'linked/package.json': '{"name": "linked", "version": "1.0.0", "type": "module", "exports": "./index.js"}',
    'linked/index.js': step('1'),
  });
  symlinkSync('../linked', p.path('node_modules/linked'));
  const states = async () => (await p.states('p.yaml')).cells;
  expect(await states()).toEqual({ a: 'ran', b: 'ran' });
  p.write('node_modules/@acme/steps/lib/one.js', step('2'));
  p.write('linked/index.js', step('2'));
  expect(await states()).toEqual({ a: 'fresh', b: 'ran' });
  p.write('node_modules/@acme/steps/package.json', manifest('1.0.1'));
  expect(await states()).toEqual({ a: 'ran', b: 'fresh' });
});
