/** Packages that the build makes a part of our files are published with them, and so are their licences. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { BUNDLED, BUNDLED_IN_STEPS, EXECA_LICENSES } from '../../bundle.ts';
import { root } from '../rig.ts';

const words = (file: string) => readFileSync(join(root, file), 'utf8').replace(/\s+/g, ' ').trim();

test.each(BUNDLED)('NOTICE contains the licence of %s', (name) => {
  expect(words('NOTICE')).toContain(words(`node_modules/${name}/LICENSE`));
});

test.each(BUNDLED_IN_STEPS)('NOTICE mentions %s, and contains its licence unless it is that of tunesmith', (name) => {
  expect(words('NOTICE')).toContain(`\`${name}\``);
  const { license } = JSON.parse(readFileSync(join(root, `node_modules/${name}/package.json`), 'utf8'));
  if (license !== JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).license)
    expect(words('NOTICE')).toContain(words(`node_modules/${name}/LICENSE`));
});

test('the files of steps that contain a package load no other copy of it', () => {
  for (const name of BUNDLED_IN_STEPS) {
    const steps = readdirSync(join(root, 'dist/steps'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));
    const importing = new RegExp(`(from|import|import\\() ?['"]${name}['"/]`);
    expect(steps.filter((file) => importing.test(readFileSync(join(root, 'dist/steps', file), 'utf8')))).toEqual(ALONE[name] ?? []);
  }
});

/** `doctor` loads each package in a process of its own. */
const ALONE: Record<string, string[]> = {
  '@duckdb/node-api': ['ml/device/libraries.js'],
  '@tensorflow/tfjs': ['ml/device/libraries.js'],
};

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

test('NOTICE mentions every model that the package contains, and the origin of the published weights', () => {
  const models = readdirSync(join(root, 'pipelines/models'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of models) expect(words('NOTICE')).toContain(`pipelines/models/${name}`);
  const [, front] = readFileSync(join(root, 'pipelines/models/tunesmith-small/README.md'), 'utf8').split('---\n');
  const { base_model, license } = parse(front!);
  expect(words('NOTICE')).toContain(`\`${base_model}\``);
  expect(license).toBe('apache-2.0');
  expect(words('NOTICE')).toContain('Copyright (c) Microsoft Corporation');
});
