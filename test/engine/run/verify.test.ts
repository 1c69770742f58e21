/** `tunesmith verify`: cells run again in a clean folder and must produce the locked outputs. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { FILES } from './counted.ts';

test('identical outputs are verified; the project is not changed', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const before = p.snapshot();
  const { code, screen } = await p.run('verify', 'p.yaml', 'words', 'count');
  expect(screen).toBe('✔ words  <time>  identical outputs\n✔ count  <time>  identical outputs\n2 cells verified\n');
  expect(code).toBe(0);
  expect(p.snapshot()).toEqual(before);
});

test('exit code 1 for a nondeterministic step, an undeclared input, and a forged lockfile', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const noise = await p.run('verify', 'p.yaml', 'noise');
  expect(noise.screen).toMatch(
    /^✖ noise {2}<time> {2}it is not deterministic: output o \(file \w{8} → file \w{8}\); a second execution produced different outputs again\n1 of 1 cell not verified\n$/,
  );
  expect(noise.code).toBe(1);
  const secretly = await p.run('verify', 'p.yaml', 'secretly');
  expect(secretly.screen).toMatch(/it failed: exited with 1\n {4}cat: hidden\.txt: No such file or directory\n/);

  const lock = p.read('p.lock');
  p.write('p.lock', lock.replace(/(words:\n.*\n.*\n {4}list: file )\w{4}/, '$10000'));
  const madeUp = await p.run('verify', 'p.yaml', 'words');
  expect(madeUp.screen).toMatch(/two executions produced identical outputs, but they differ from the stored ones: output list \(file 0000/);
  expect(madeUp.code).toBe(1);
  p.write('p.lock', lock);
  p.write('in/a.txt', 'fig\n');
  expect((await p.run('verify', 'p.yaml', 'words')).screen).toContain('it has changed since: input text changed: 1 of 2 files');
});
