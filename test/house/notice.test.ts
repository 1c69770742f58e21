/** Packages that the build makes a part of our files are published with them, and so are their licences. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BUNDLED, EXECA_LICENSES } from '../../bundle.ts';
import { root } from '../rig.ts';

const words = (file: string) => readFileSync(join(root, file), 'utf8').replace(/\s+/g, ' ').trim();

test.each(BUNDLED)('NOTICE contains the licence of %s', (name) => {
  expect(words('NOTICE')).toContain(words(`node_modules/${name}/LICENSE`));
});

/** A package and all that it uses. */
function closure(name: string, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  const { dependencies = {} } = JSON.parse(readFileSync(join(root, `node_modules/${name}/package.json`), 'utf8'));
  for (const other of Object.keys(dependencies)) closure(other, found);
  return found;
}

test.each([...closure('execa')])('the licences of the bundled execa include that of %s', (name) => {
  const licence = readdirSync(join(root, 'node_modules', name)).find((file) => /^licen[cs]e/i.test(file))!;
  expect(words(`dist/${EXECA_LICENSES}`)).toContain(words(`node_modules/${name}/${licence}`));
});
