/** What `npm ci` executes in a checkout, and which Node it brings. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../rig.ts';

const read = (file: string) => JSON.parse(readFileSync(join(root, file), 'utf8'));
const { devDependencies, engines, allowScripts } = read('package.json');

/**
 * npm 12 asks `allowScripts`, but 10 and 11 execute every script that the lock says there is: those of onnxruntime-node and
 * tfjs-node-gpu download hundreds of megabytes that nothing here uses. An option for that in .npmrc makes npm 11 warn at
 * every command. If this fails after `npm install`, delete `"hasInstallScript": true` of the packages that it names.
 */
test('only the package node has an install script that npm executes', () => {
  const packages: Record<string, { hasInstallScript?: boolean }> = read('package-lock.json').packages;
  const executed = Object.keys(packages).filter((path) => path !== '' && packages[path]!.hasInstallScript);
  expect(executed).toEqual(['node_modules/node']);
  expect(Object.keys(allowScripts).filter((name) => allowScripts[name])).toEqual(['node']);
});

test("the repository's own Node is exact, and new enough for the package", () => {
  expect(devDependencies.node).toMatch(/^24\.\d+\.\d+$/);
  expect(engines.node).toBe('>=22');
  expect(readFileSync(join(root, 'engine/cli.ts'), 'utf8')).toContain('Node 22.15 or later');
});
