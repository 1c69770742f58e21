/** Text that was typed. */
import { expect, test } from 'vitest';
import { names, STEP } from '../../contract/texts.ts';
import { project } from '../../rig.ts';

test('typed text is printed as it is, without control characters for the terminal', async () => {
  const yaml = `
params: { t: none }
steps:
  own: { uses: ./own.ts, with: { t0: "\${{ params.t }}", ${names
    .slice(1)
    .map((name) => `${name}: x`)
    .join(', ')} } }
`;
  const p = project({ 'p.yaml': yaml, 'own.ts': STEP });
  await p.states('p.yaml', '-p', 't=00501');
  const { stdout } = await p.run('run', 'p.yaml', '--dry-run', '-p', 't=1.10 #5 \x1b[31mred');
  expect(stdout).toContain('option t0: 00501 → 1.10 #5');
  expect(stdout).not.toContain('\x1b');
  expect((await p.run('runs', 'show', 'latest')).stdout).toMatch(/param t +00501\n/);
});
