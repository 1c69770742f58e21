/** A training that is interrupted and run again gives the same result as an uninterrupted one, to the last bit. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporary } from '../rig.ts';
import { CONTINUES, cli, continued, flipped, here, namesIn } from './resuming.ts';

/** 18 steps per epoch. */
const STEPS = 54;

test('Ctrl-C, then the same command: it resumes, and leaves nothing behind when it has succeeded', async () => {
  const { p, made, start, states } = await cli();
  const run = start();
  await run.trains();
  run.kill('SIGINT');
  await run.ended;
  expect(p.find('.tunesmith/checkpoints').filter((name) => name.endsWith('checkpoint.json')).length).toBeGreaterThan(0);
  const again = start();
  await again.ended;
  expect(continued(again.printed())).toBeGreaterThan(0);
  expect(p.find('.tunesmith/checkpoints', { all: true })).toEqual([]);
  // The run's own records have the whole curve.
  expect(again.printed().match(/"metric","cell":"train","name":"loss"/g)).toHaveLength(STEPS);
  const resumed = made();
  expect(await states('--force')).toBe('ran');
  expect(made()).toEqual(resumed);
});

// More kinds of damage: test/optional/chaos/resume.test.ts.
test('a checkpoint that is damaged is skipped', async () => {
  const { train } = await here({ epochs: 1 });
  const whole = await train();
  const checkpoints = join(temporary(), 'checkpoints');
  await expect(train({ checkpoints, dieAt: 7 })).rejects.toThrow('died');
  expect(namesIn(checkpoints)).toEqual(['epoch-0-step-4', 'epoch-0-step-6']);
  const path = join(checkpoints, 'epoch-0-step-6/optimizer.safetensors');
  fs.writeFileSync(path, flipped(fs.readFileSync(path)));
  const resumed = await train({ checkpoints });
  expect(resumed.warnings).toEqual([expect.stringMatching(/^the checkpoint epoch-0-step-6 is skipped: /)]);
  expect(continued(resumed.log.join('\n'))).toBe(4);
  expect(resumed.result).toEqual(whole.result);
});

test('the training continues if no checkpoint can be written', async () => {
  const { train } = await here({ epochs: 1, save_steps: 10 });
  const file = join(temporary(), 'file');
  fs.writeFileSync(file, '');
  const { warnings, result } = await train({ checkpoints: join(file, 'checkpoints') });
  expect(warnings).toEqual([expect.stringMatching(/^no checkpoint was written at step 10: ENOTDIR.* The training continues without it$/)]);
  expect(result.history).toHaveLength(19);
});

test('a training that diverges reports the last good checkpoint, and diverges there again', async () => {
  const { train } = await here({ learning_rate: 1e30, max_grad_norm: 0, save_steps: 1 });
  const checkpoints = join(temporary(), 'checkpoints');
  const message =
    /^the training diverged: .* not finite at step (\d+) \(epoch 1\); the last good checkpoint \(step \d+\) is at .*epoch-0-step-\d+$/;
  const error = await train({ checkpoints }).catch((error) => error);
  expect(error.message).toMatch(message);
  expect(error.hint).toMatch(/lower learning_rate.* With the same options the training diverges again\.$/);
  expect(error.option).toEqual(['learning_rate']);
  const again = await train({ checkpoints }).catch((error) => error);
  expect(again.message).toBe(error.message);
  expect(again.log.some((line: string) => CONTINUES.test(line))).toBe(true);
});
