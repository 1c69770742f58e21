/** Drivers that fail and cards that are too old. */
import { chmodSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Files, project } from '../../rig.ts';

async function doctor(files: Files = {}) {
  const p = project(files);
  if (files['nvidia-smi']) {
    chmodSync(p.path('nvidia-smi'), 0o755);
    p.env.PATH = `${p.folder}:${p.env.PATH}`;
  }
  p.env.TUNESMITH_HOME = p.folder;
  const { stdout } = await p.run('doctor', '--json');
  const { checks } = JSON.parse(stdout) as { checks: { name: string; state: string; detail: string; next?: string }[] };
  return Object.fromEntries(checks.map(({ name, ...check }) => [name, check]));
}

const CARD = "#!/bin/sh\necho 'NVIDIA L4, 23034 MiB, 550.54.15, 8.9'\n";

test('a failing driver is reported with its own message, and a card that is too old with what it lacks', async () => {
  const words = "#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'\nexit 9\n";
  expect((await doctor({ 'nvidia-smi': words })).GPU).toMatchObject({
    state: 'broken',
    detail: 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.',
  });
  const old = CARD.replace('8.9', '5.2');
  expect((await doctor({ 'nvidia-smi': old })).GPU).toMatchObject({
    state: 'broken',
    detail: expect.stringContaining('TensorFlow needs at least 6.0'),
  });
});
