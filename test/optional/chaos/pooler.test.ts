/** A pooler learns in a training that is interrupted or continued. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporary } from '../../steps/rig.ts';
import { bytesIn, lesson, modelIn, POOLED, poolerIn, trained } from '../../steps/train/pooling.ts';

test('interrupted and resumed, or continued with more epochs, a pooler learns as in one training', async () => {
  const inputs = await lesson();
  const options = { distill: POOLED, dropout: 0.1, save_steps: 2, logging_steps: 1, lr_scheduler_type: 'constant', save_optimizer: true };
  const whole = await trained(inputs, { ...options, epochs: 2 });
  const checkpoints = join(temporary(), 'checkpoints');
  const stopping = new AbortController();
  const metric = (name: string, _: number, at: unknown) => void (name === 'loss' && at === 3 && stopping.abort(new Error('stopped')));
  await expect(trained(inputs, { ...options, epochs: 2 }, { checkpoints, signal: stopping.signal, metric })).rejects.toThrow('stopped');
  const resumed = await trained(inputs, { ...options, epochs: 2 }, { checkpoints });
  expect(resumed.log.join('\n')).toContain('resumes at step 3 of 10');
  expect(bytesIn(resumed).equals(bytesIn(whole))).toBe(true);

  const half = modelIn(await trained(inputs, options));
  const continued = await trained({ ...inputs, continue: half }, { ...options, epochs: 2 });
  expect(bytesIn(continued).equals(bytesIn(whole))).toBe(true);
  // Continued without the teacher, the pooler stays as it was, although `model` has none.
  const { 'distill.teacher': _, ...untaught } = inputs;
  const alone = await trained({ ...untaught, continue: half }, { ...options, distill: undefined, epochs: 2 });
  expect(await poolerIn(modelIn(alone))).toEqual(await poolerIn(half));
});
