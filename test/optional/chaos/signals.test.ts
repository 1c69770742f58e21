/** A step that is stopped by a signal. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

test('a stopped step is killed at its timeout', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "kill -STOP $$", timeout: 1s } }' });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect({ code, screen }).toMatchObject({ code: 1, screen: expect.stringContaining('timed out after 1s') });
});
