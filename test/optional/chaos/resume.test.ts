/** Trainings that are killed, interrupted or continued at more moments, and checkpoints with more kinds of damage. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import { temporary } from '../../steps/rig.ts';
import { smallModel } from '../../steps/small.ts';
import { cli, continued, flipped, here, namesIn, OUTPUT, sha256 } from '../../steps/train/resuming.ts';

test('killed with -9 four times at any moment, and run again until it succeeds: the same weights, the same history', async () => {
  const { p, made, start, states } = await cli();
  expect(await states()).toBe('ran');
  const whole = made();
  expect(await states('--force')).toBe('ran');
  expect(made()).toEqual(whole);
  let resumed = 0;
  let finished = 0;
  p.remove('.tunesmith');
  for (let kills = 0; kills < 4 || finished === 0; ) {
    const run = start();
    const training = await run.trains();
    if (training && kills < 4) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 400));
      run.kill('SIGKILL');
      kills++;
    }
    await run.ended;
    if (continued(run.printed()) > 0) resumed++;
    if (!p.exists(OUTPUT)) continue;
    expect(made()).toEqual(whole);
    finished++;
    p.remove('.tunesmith');
  }
  expect(resumed).toBeGreaterThan(1);
}, 600_000);

test('across the end of an epoch, with early stopping and its best weights', async () => {
  const options = { epochs: 11, early_stopping: { metric: 'accuracy', patience: 3, min_delta: 0 } };
  const { train } = await here(options);
  const whole = await train();
  expect(whole.record.kept_epoch).toBe(whole.record.epochs - 3);
  const checkpoints = join(temporary(), 'checkpoints');
  // Within an epoch, right at its end, and after the best one.
  for (const until of [7, 18, 19, 18 * whole.record.kept_epoch + 5, 18 * whole.record.epochs - 1]) {
    await expect(train({ checkpoints, abortAt: until })).rejects.toMatchObject({ name: 'AbortError' });
    expect(newest(checkpoints)).toMatchObject({ step: until });
  }
  const resumed = await train({ checkpoints });
  expect(continued(resumed.log.join('\n'))).toBe(18 * whole.record.epochs - 1);
  expect({ ...resumed.result, metrics: resumed.metrics }).toEqual({ ...whole.result, metrics: whole.metrics });
});

test('within an epoch, evaluated by steps, and interrupted between a step and its evaluation', async () => {
  const options = { epochs: 8, eval_strategy: 'steps', eval_steps: 5, early_stopping: { metric: 'loss', patience: 4, min_delta: 0.05 } };
  const { train } = await here({ ...options, runtime: 'eager' });
  const whole = await train();
  expect(whole.record.steps % 5).toBe(0);
  expect(whole.record.steps).toBeLessThan(8 * 18);
  const checkpoints = join(temporary(), 'checkpoints');
  // The signal comes while step 10 is reported, so that its evaluation has not begun.
  for (const until of [7, 10, 21]) await expect(train({ checkpoints, abortAt: until })).rejects.toMatchObject({ name: 'AbortError' });
  const resumed = await train({ checkpoints });
  expect(continued(resumed.log.join('\n'))).toBe(21);
  expect({ ...resumed.result, metrics: resumed.metrics }).toEqual({ ...whole.result, metrics: whole.metrics });
});

test('a checkpoint that is damaged or from another runtime is skipped', async () => {
  const { train } = await here();
  const whole = await train();
  const cutOff = async (checkpoints: string, at: number, options: object = {}) => {
    await expect(train({ checkpoints, dieAt: at }, options)).rejects.toThrow('died');
    return namesIn(checkpoints);
  };
  const intact = join(temporary(), 'checkpoints');
  const names = await cutOff(intact, 31);
  expect(names).toEqual(['epoch-1-step-28', 'epoch-1-step-30']);
  const copied = () => {
    const checkpoints = join(temporary(), 'checkpoints');
    fs.cpSync(intact, checkpoints, { recursive: true });
    return checkpoints;
  };
  const damages: [file: string, damage: (bytes: Buffer) => Buffer][] = [
    ['weights.safetensors', (bytes) => bytes.subarray(0, bytes.length / 2)],
    ['optimizer.safetensors', flipped],
    ['state.json', (bytes) => Buffer.from(String(bytes).replace('"step":30', '"step":28'))],
    ['checkpoint.json', (bytes) => bytes.subarray(0, 20)],
  ];
  for (const [file, damage] of damages) {
    const checkpoints = copied();
    const path = join(checkpoints, 'epoch-1-step-30', file);
    fs.writeFileSync(path, damage(fs.readFileSync(path)));
    const resumed = await train({ checkpoints });
    expect(resumed.warnings).toEqual([expect.stringMatching(/^the checkpoint epoch-1-step-30 is skipped: /)]);
    expect(continued(resumed.log.join('\n'))).toBe(28);
    expect(resumed.result).toEqual(whole.result);
  }
  const checkpoints = copied();
  for (const name of names) fs.truncateSync(join(checkpoints, name, 'optimizer.safetensors'));
  const anew = await train({ checkpoints });
  expect(anew.warnings).toHaveLength(2);
  expect(anew.log).toContain('no usable checkpoint is left: the training starts from the beginning');
  expect(anew.result).toEqual(whole.result);

  const other = join(temporary(), 'checkpoints');
  await cutOff(other, 3, { runtime: 'eager' });
  const onnx = await train({ checkpoints: other, dieAt: 5 }).catch((error) => error);
  expect(onnx.warnings[0]).toMatch(
    /is skipped: it was made with eager \(.*\), and this is onnx \(.*\); their results differ in the last bits$/,
  );
  // Those of the other runtime are gone: they must not be taken for older ones of this one.
  expect(namesIn(other)).toEqual(['epoch-0-step-2', 'epoch-0-step-4']);
});

test('max_steps decides how long it trains; its last, partial epoch is evaluated, resumed and continued', async () => {
  const constant = { lr_scheduler_type: 'constant', save_optimizer: true };
  const { train, inputs } = await here(constant);
  const whole = await train({}, { epochs: 2 });
  expect((await train({}, { epochs: 1, max_steps: 36 })).result).toEqual(whole.result);

  const part = await train({}, { max_steps: 25 });
  expect(part.record).toMatchObject({ epochs: 1.3889, steps: 25, steps_per_epoch: 18, kept_epoch: 2, kept_step: 25 });
  expect(part.result.history.slice(0, 18 + 1 + 7)).toEqual([...whole.result.history.slice(0, 18 + 1 + 7)]);
  expect(part.result.history.at(-1)).toMatchObject({ step: 25, epoch: 2, validation_loss: expect.any(Number) });
  const checkpoints = join(temporary(), 'checkpoints');
  for (const until of [20, 25]) await expect(train({ checkpoints, abortAt: until }, { max_steps: 25 })).rejects.toThrow();
  const resumed = await train({ checkpoints }, { max_steps: 25 });
  expect(continued(resumed.log.join('\n'))).toBe(25);
  expect(resumed.result).toEqual(part.result);

  const more = { ...inputs, continue: part.outputs.model! };
  const on = await train({}, { epochs: 2 }, more);
  expect(on.log).toContainEqual(
    expect.stringMatching(/^continues after step 25, in epoch 2, of .*, with the learning rate schedule of 2 epochs, 36 steps$/),
  );
  expect(on.result.weights).toBe(whole.result.weights);
  expect((await train({}, { max_steps: 36 }, more)).result.weights).toBe(whole.result.weights);
  await expect(train({}, { max_steps: 25 }, more)).rejects.toMatchObject({
    message: expect.stringMatching(/was already trained for 25 steps, and max_steps is 25$/),
    option: ['max_steps'],
  });
  await expect(train({}, { max_steps: 36, batch_size: 8 }, more)).rejects.toMatchObject({
    message: expect.stringMatching(/ended within an epoch of 18 steps; here an epoch has 9$/),
    option: ['continue'],
  });
});

/** The state of the latest checkpoint. */
function newest(folder: string): object {
  const states = namesIn(folder).map((name) => JSON.parse(fs.readFileSync(join(folder, name, 'state.json'), 'utf8')));
  return states.sort((a, b) => b.step - a.step)[0];
}

test('all outputs are the same bytes in a clean folder', async () => {
  const { p, states } = await cli({ epochs: 1, tensorboard: true });
  expect(await states()).toBe('ran');
  const { code, screen } = await p.run('verify', 'p.yaml', 'train');
  expect(code, screen).toBe(0);
  expect(screen).toContain('identical outputs');
});

test('interrupted after its last step, which ended an epoch: its reports are the same too', async () => {
  const early_stopping = { metric: 'loss', patience: 2, min_delta: 10 };
  const { train } = await here({ eval_strategy: 'steps', eval_steps: 6, save_steps: 6, early_stopping });
  const whole = await train();
  expect(whole.record).toMatchObject({ epochs: 1, steps: 18 });
  const checkpoints = join(temporary(), 'checkpoints');
  await expect(train({ checkpoints, dieAtLine: /^stopped/ })).rejects.toThrow('died');
  const resumed = await train({ checkpoints });
  expect(continued(resumed.log.join('\n'))).toBe(18);
  expect(resumed.record).toEqual(whole.record);
});

test('epochs are added to a finished training as if it had been one; incompatible folders are reported', async () => {
  const { train, inputs } = await here({ lr_scheduler_type: 'constant', save_optimizer: true, epochs: 2 });
  const whole = await train({}, { epochs: 4 });
  const half = await train();
  const more = { ...inputs, continue: half.outputs.model! };
  const resumed = await train({}, { epochs: 4 }, more);
  expect(resumed.log).toContainEqual(
    expect.stringMatching(/^continues after epoch 2 of .*, with the learning rate schedule of 4 epochs, 72 steps$/),
  );
  expect(resumed.result.weights).toBe(whole.result.weights);
  expect(sha256(join(resumed.outputs.model!, 'optimizer.safetensors'))).toBe(sha256(join(whole.outputs.model!, 'optimizer.safetensors')));
  expect(resumed.result.history).toEqual(whole.result.history.filter(({ epoch }: { epoch: number }) => epoch > 2));

  await expect(train({}, {}, more)).rejects.toMatchObject({
    message: expect.stringMatching(/was already trained for 2 epochs, and epochs is 2$/),
    option: ['epochs'],
  });
  await expect(train({}, { epochs: 4, optim: 'sgd' }, more)).rejects.toThrow(
    'does not fit this training: there are tensors m/…, which belong to another optimizer',
  );
  await expect(
    train({}, { epochs: 4, save_optimizer: false, lora: { r: 2, alpha: 4, dropout: 0, merge: true } }, more),
  ).rejects.toMatchObject({
    message: '`continue` cannot be combined with `lora`, whose adapters are merged when a training ends',
    option: ['lora'],
  });
  await expect(train({}, { epochs: 4, from_scratch: true }, more)).rejects.toMatchObject({
    message: '`continue` cannot be combined with `from_scratch`, because it replaces all weights',
    option: ['from_scratch'],
  });
  const wider = smallModel({ intermediate_size: 64 });
  await expect(train({}, { epochs: 4 }, { ...more, model: wider })).rejects.toThrow(
    /does not fit this training: bert.encoder.layer.0.intermediate.dense.weight is \[32,16\], but in the model it is \[64,16\]$/,
  );
  const state = join(half.outputs.model!, 'optimizer.safetensors');
  const { 'v/bert.pooler.dense.bias': _, ...rest } = await readSafetensors(state);
  await writeSafetensors(state, rest);
  await expect(train({}, { epochs: 4 }, more)).rejects.toThrow('there is no tensor v/bert.pooler.dense.bias');
  fs.rmSync(state);
  await expect(train({}, { epochs: 4 }, more)).rejects.toThrow('has no optimizer.safetensors');
});
