/** Packages that the build makes a part of our files are published with them, and so are their licences. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BUNDLED } from '../../bundle.ts';
import { root } from '../rig.ts';

const words = (file: string) => readFileSync(join(root, file), 'utf8').replace(/\s+/g, ' ').trim();

test.each(BUNDLED)('NOTICE contains the licence of %s', (name) => {
  expect(words('NOTICE')).toContain(words(`node_modules/${name}/LICENSE`));
});
