/** The files of `new-step` run, and the compiler finds the types of tunesmith and of Node in an empty folder. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../rig.ts';

/** The output of the TypeScript compiler in a folder. */
function checked(folder: string): Promise<string> {
  return new Promise((resolve) =>
    execFile(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], { cwd: folder }, (_, stdout, stderr) =>
      resolve(stdout + stderr),
    ),
  );
}

test('in an empty folder it runs and type-checks, and a type error is found', async () => {
  const p = project();
  const { code, screen } = await p.run('new-step', 'keep-long');
  expect(code, screen).toBe(0);
  expect(screen).toContain('wrote keep-long.ts, keep-long.yaml, tsconfig.json\n');
  expect(await checked(p.folder)).toBe('');
  expect((await p.states('keep-long.yaml')).cells).toEqual({ lines: 'ran', kept: 'ran' });
  expect((await p.states('keep-long.yaml')).cells).toEqual({ lines: 'fresh', kept: 'fresh' });

  p.write('keep-long.ts', p.read('keep-long.ts').replace('inputs.text', 'inputs.txt').replace('options.min_length', 'options.min_lenght'));
  expect((await checked(p.folder)).match(/Property '\w+' does not exist/g)).toEqual([
    "Property 'txt' does not exist",
    "Property 'min_lenght' does not exist",
  ]);
});

test('a tsconfig.json of the user, here or in a parent folder, stays unchanged', async () => {
  const p = project({ 'tsconfig.json': '{}', 'below/x': '' });
  expect((await p.runIn('below', 'new-step', 'mine')).screen).toContain('wrote mine.ts, mine.yaml\n');
  expect(p.read('tsconfig.json')).toBe('{}');
});

test('if tunesmith is installed, tsconfig.json contains no path of this machine', async () => {
  const p = project({ 'node_modules/tunesmith/package.json': '{"name": "tunesmith"}' });
  const { screen } = await p.run('new-step', 'mine');
  expect(screen).toBe('wrote mine.ts, mine.yaml, tsconfig.json\n\n  tunesmith run mine.yaml\n');
  expect(JSON.parse(p.read('tsconfig.json')).compilerOptions.paths).toBeUndefined();
});
