/** Timeouts of processes in other sessions. */
import { expect, test } from 'vitest';
import { engine } from '../../engine/run/rig.ts';

test.skipIf(process.platform !== 'linux')('a timeout also ends processes in another session', async () => {
  const p = engine(`
steps:
  a:
    run: setsid sh -c "trap '' TERM; while :; do sleep 0.1; echo a >> beats; done" & sleep 600
    timeout: 1s
`);
  const run = await p.go();
  expect(run.failures.a!.message).toBe('timed out after 1s');
  expect(p.exists('beats')).toBe(true);
  expect(await still(p, 'beats')).toBe(true);
});

/** Whether a file has stopped growing. */
async function still(p: ReturnType<typeof engine>, file: string): Promise<boolean> {
  const before = p.exists(file) ? p.read(file) : '';
  await new Promise((resolve) => setTimeout(resolve, 400));
  return (p.exists(file) ? p.read(file) : '') === before;
}
