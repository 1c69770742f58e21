/** A training that is interrupted and run again gives the same result as an uninterrupted one, to the last bit. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import step from '../../../steps/train/step.ts';
import { project, root } from '../../rig.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

const QUICK = { epochs: 3, batch_size: 4, learning_rate: 0.02, dropout: 0.1, save_steps: 2 };
/** 18 steps per epoch. */
const STEPS = 54;

test('killed with -9 ten times at any moment, and run again until it succeeds: the same weights, the same history', async () => {
  const { p, made, start, states } = await cli();
  expect(await states()).toBe('ran');
  const whole = made();
  expect(await states('--force')).toBe('ran');
  expect(made()).toEqual(whole);
  let resumed = 0;
  let finished = 0;
  p.remove('.tunesmith');
  for (let kills = 0; kills < 10 || finished === 0; ) {
    const run = start();
    const training = await run.trains();
    if (training && kills < 10) {
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
  expect(resumed).toBeGreaterThan(2);
}, 600_000);

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

test('all outputs are the same bytes in a clean folder', async () => {
  const { p, states } = await cli({ epochs: 1, tensorboard: true });
  expect(await states()).toBe('ran');
  const { code, screen } = await p.run('verify', 'p.yaml', 'train');
  expect(code, screen).toBe(0);
  expect(screen).toContain('identical outputs');
});

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

/** A project with one cell, train, and the CLI in a process group of its own, as a shell starts it. */
async function cli(options: object = {}) {
  const model = smallModel();
  const p = project();
  fs.cpSync(model, p.path('model'), { recursive: true });
  fs.cpSync(await smallTokens(model), p.path('tokens'), { recursive: true });
  const cell = { uses: 'train', resources: { cpu: 1 }, with: { tokens: './tokens', model: './model', ...QUICK, ...options } };
  p.write('p.yaml', `name: p\nsteps:\n  train: ${JSON.stringify(cell)}\n`);
  const start = () => {
    const child = spawn(process.execPath, [join(root, 'dist/engine/cli.js'), 'run', 'p.yaml', '--json'], {
      cwd: p.folder,
      env: { ...process.env, TUNESMITH_CACHE: undefined },
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
    let over = false;
    const ended = new Promise<void>((resolve) => {
      child.on('close', () => {
        over = true;
        resolve();
      });
    });
    const kill = (signal: NodeJS.Signals) => {
      if (!over) process.kill(-child.pid!, signal);
    };
    onTestFinished(() => kill('SIGKILL'));
    /** False if it ended before. */
    const trains = async () => {
      await p.until(() => over || printed.includes('"type":"progress"'), 60);
      return !over;
    };
    return { kill, ended, trains, printed: () => printed };
  };
  return {
    p,
    start,
    states: async (...args: string[]) => (await p.states('p.yaml', ...args)).cells.train,
    made: () => ({
      weights: sha256(p.path(`${OUTPUT}/model.safetensors`)),
      history: historyIn(p.path('.tunesmith/outputs/p/train/history')),
    }),
  };
}

const OUTPUT = '.tunesmith/outputs/p/train/model';

interface Ending {
  checkpoints?: string;
  /** After this many steps the signal aborts, or the step dies without a chance to write anything. */
  abortAt?: number;
  dieAt?: number;
  /** The same, triggered by a line of the log. */
  dieAtLine?: RegExp;
}

/** The step in this process, with the runtime that compiles, because `eager` takes twice as long. Its errors carry its log and its warnings. */
async function here(usual: object = {}) {
  const model = smallModel();
  const inputs: Record<string, string> = { model, tokens: await smallTokens(model) };
  const train = async (
    { checkpoints = join(temporary(), 'none'), abortAt, dieAt, dieAtLine }: Ending = {},
    options: object = {},
    given = inputs,
  ) => {
    const log: string[] = [];
    const warnings: string[] = [];
    const metrics: Record<string, number> = {};
    const stop = new AbortController();
    const more = {
      checkpoints,
      signal: stop.signal,
      log(line: string) {
        log.push(line);
        if (dieAtLine?.test(line)) throw new Error('died');
      },
      warn: (line: string) => void warnings.push(line),
      metric(name: string, value: number, at?: number) {
        if (at === undefined) metrics[name] = value;
        if (name === 'loss' && at === abortAt) stop.abort();
        if (name === 'loss' && at === dieAt) throw new Error('died');
      },
    };
    try {
      const { outputs } = await ranStep(step, { ...QUICK, runtime: 'onnx', ...usual, ...options }, given, {}, more);
      const history = historyIn(outputs.history!);
      const result = { weights: sha256(join(outputs.model!, 'model.safetensors')), history };
      const record = JSON.parse(fs.readFileSync(join(outputs.model!, 'training.json'), 'utf8'));
      return { outputs, result, record, log, warnings, metrics };
    } catch (error) {
      throw error === stop.signal.reason ? error : Object.assign(error as Error, { log, warnings });
    }
  };
  return { train, inputs };
}

const historyIn = (file: string) =>
  fs
    .readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const sha256 = (file: string) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

/** With one bit flipped in the middle. */
function flipped(bytes: Buffer): Buffer {
  const at = Math.floor(bytes.length / 2);
  bytes[at]! ^= 1;
  return bytes;
}

const CONTINUES = /resumes at step (\d+) of \d+ \(epoch \d+\), from a checkpoint of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/;

/** The step at which the training of this log resumed; 0 if it started from the beginning. */
const continued = (log: string): number => Number(CONTINUES.exec(log)?.[1] ?? 0);

const namesIn = (folder: string): string[] => fs.readdirSync(folder).sort();

/** The state of the latest checkpoint. */
function newest(folder: string): object {
  const states = namesIn(folder).map((name) => JSON.parse(fs.readFileSync(join(folder, name, 'state.json'), 'utf8')));
  return states.sort((a, b) => b.step - a.step)[0];
}
