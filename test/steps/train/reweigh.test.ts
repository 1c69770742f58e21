/** Reweighing: the weights are those of AIF360 (test/golden/reweigh.py), and enter the loss like the weights of classes. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../../steps/ml/models/safetensors.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { reweighed } from '../../../steps/train/reweigh.ts';
import step from '../../../steps/train/step.ts';
import golden from '../../golden/reweigh.json' with { type: 'json' };
import { ranStep, table } from '../rig.ts';
import { rows, smallModel } from '../small.ts';

test.each(golden)('the weights of groups and labels', ({ group, label, weights }) => {
  const ours = reweighed(group.map(String), Int32Array.from(label));
  for (const [i, weight] of weights.entries()) expect(ours[i]).toBeCloseTo(weight, 6);
});

test('with these weights, group and label are independent', () => {
  const groups = ['a', 'a', 'a', 'b', 'b', 'c', 'c', 'c', 'c'];
  const classes = Int32Array.of(0, 1, 1, 0, 1, 0, 0, 0, 1);
  const weights = reweighed(groups, classes);
  const sum = (test: (i: number) => boolean) => weights.reduce((all, weight, i) => all + (test(i) ? weight : 0), 0);
  for (const group of ['a', 'b', 'c']) {
    expect(sum((i) => groups[i] === group)).toBeCloseTo(groups.filter((one) => one === group).length, 5);
    expect(sum((i) => groups[i] === group && classes[i] === 0) / sum((i) => groups[i] === group)).toBeCloseTo(5 / 9, 5);
  }
});

/** `rare`: how many rows of the group `b` are good; all others are bad. */
async function grouped(rare: number, batch: object, options: object = {}) {
  const model = smallModel();
  let good = 0;
  const made = rows({ train: 24, validation: 4 }).map((row, i) => ({
    ...row,
    group: row.label === 'good' && (i % 4 === 1 || good++ < rare) ? 'b' : 'a',
  }));
  const data = await table(made);
  const tokens = (await ranStep(tokenize, { max_length: 24 }, { data, model })).outputs.tokens!;
  const ran = await ranStep(
    step,
    { epochs: 2, learning_rate: 0.05, optim: 'sgd', dropout: 0, runtime: 'onnx', reweigh: { group: 'group' }, ...batch, ...options },
    { model, tokens, 'reweigh.data': data },
  );
  const stored = await readSafetensors(join(ran.outputs.model!, 'model.safetensors'));
  return { ...ran, weights: Object.values(stored).flatMap((tensor) => [...toFloat32(tensor)!]) };
}

test('parts of a batch with unequal weights learn the same as the whole batch', async () => {
  const whole = await grouped(1, { batch_size: 12 });
  const parts = await grouped(1, { batch_size: 3, gradient_accumulation_steps: 4 });
  const plain = await grouped(1, { batch_size: 12 }, { reweigh: undefined });
  const distance = (a: number[], b: number[]) => Math.hypot(...a.map((x, i) => x - b[i]!)) / Math.hypot(...b);
  expect(distance(parts.weights, whole.weights)).toBeLessThan(1e-6);
  expect(distance(plain.weights, whole.weights)).toBeGreaterThan(1e-4);
  expect(whole.log.filter((line) => line.startsWith('reweigh:'))).toHaveLength(3);
});

test('a missing row, an unknown column and tokens without classes are errors; one group is a warning', async () => {
  const model = smallModel();
  const made = rows({ train: 12, validation: 4 }).map((row) => ({ ...row, group: 'a' }));
  const tokens = (await ranStep(tokenize, { max_length: 24 }, { data: await table(made), model })).outputs.tokens!;
  const trained = async (group: string, data: object[]) =>
    ranStep(step, { epochs: 1, runtime: 'eager', reweigh: { group } }, { model, tokens, 'reweigh.data': await table(data) });
  await expect(trained('group', made.slice(1))).rejects.toMatchObject({
    message: 'the data have no row train-0000, which the tokens have',
  });
  await expect(trained('gruop', made)).rejects.toMatchObject({ message: 'the data have no column `gruop`', option: ['reweigh'] });
  expect((await trained('group', made)).warnings.join('\n')).toMatch(/reweigh has no effect: .* in the group a/);
  const lm = (await ranStep(tokenize, { task: 'masked-lm', max_length: 24 }, { data: await table(made), model })).outputs.tokens!;
  await expect(
    ranStep(step, { epochs: 1, runtime: 'eager', reweigh: { group: 'group' } }, { model, tokens: lm, 'reweigh.data': await table(made) }),
  ).rejects.toThrow('`reweigh` does not apply to masked-lm');
});
