import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import definition from '../../../steps/select/step.ts';
import { ranStep, temporary } from '../rig.ts';

const byRate = (i: number): object => ({ lr: i });

/** Metrics and a model for every cell, as evaluate and train make them. */
async function selected(options: object, f1: (number | null)[], { dimension = byRate, picks = byRate, split = 'validation' } = {}) {
  const folder = temporary();
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const from = f1.map((value, i) => file(`metrics-${i}`, JSON.stringify({ split, rows: 9, metrics: { f1: value, loss: i } })));
  const pick = f1.map((_, i) => file(`model-${i}`, `model ${i}`));
  const origins = {
    from: f1.map((_, i) => ({ cell: `evaluate[${i}]`, matrix: dimension(i) as any })),
    pick: f1.map((_, i) => ({ cell: `train[${i}]`, matrix: picks(i) as any })),
  };
  const ran = await ranStep(definition, options, { from, pick }, origins);
  return { ...ran, picked: readFileSync(ran.outputs.pick!, 'utf8'), choice: JSON.parse(readFileSync(ran.outputs.choice!, 'utf8')) };
}

test('the best metric decides, and the picked output is from the same matrix point', async () => {
  const best = await selected({ maximize: 'f1' }, [0.8, 0.9, 0.85]);
  expect(best.picked).toBe('model 1');
  expect(best.choice).toMatchObject({ maximize: 'f1', value: 0.9, cell: 'evaluate[1]', matrix: { lr: 1 }, picked: 'train[1]' });
  expect(best.choice.chosen.metrics.f1).toBe(0.9);
  expect(best.choice.ties).toEqual([]);
  expect(best.result).toBe('chose train[1]: f1 0.9 is the highest of 3; the next is 0.85, of evaluate[2]');
  const near = await selected({ minimize: 'f1' }, [0.812341, 0.812339, 0.9]);
  expect(near.result).toBe('chose train[1]: f1 0.812339 is the lowest of 3; the next is 0.812341, of evaluate[0]');
  expect((await selected({ maximize: 'f1' }, [0.5])).result).toBe('chose train[0]: f1 0.5 is the highest of 1');
  expect(best.choice.candidates).toHaveLength(3);
  expect((await selected({ minimize: 'loss' }, [0.8, 0.9])).picked).toBe('model 0');
});

test('the picked output has files instead of links, which would not outlive their targets', async () => {
  const folder = temporary();
  const [metrics, blob, model] = ['metrics', 'blob', 'model'].map((name) => join(folder, name)) as [string, string, string];
  writeFileSync(metrics, JSON.stringify({ metrics: { f1: 0.5 } }));
  writeFileSync(blob, 'weights');
  mkdirSync(model);
  symlinkSync('../blob', join(model, 'weights'));
  const origin = [{ cell: 'train', matrix: {} }];
  const { outputs } = await ranStep(definition, { maximize: 'f1' }, { from: [metrics], pick: [model] }, { from: origin, pick: origin });
  expect(lstatSync(join(outputs.pick!, 'weights')).isFile()).toBe(true);
  expect(readFileSync(join(outputs.pick!, 'weights'), 'utf8')).toBe('weights');
});

test('the first of equals wins; values that are not numbers are left out, with a warning', async () => {
  const best = await selected({ maximize: 'f1' }, [null, 0.5, 0.5]);
  expect(best.picked).toBe('model 1');
  expect(best.choice.ties).toEqual(['evaluate[2]']);
  expect(best.result).toBe('chose train[1]: f1 0.5 is the highest of 2; evaluate[2] has it too, so the first is taken');
  expect(best.warnings).toEqual(['evaluate[0]: f1 is not a number; this candidate is left out']);
});

test('cells of metrics may have more dimensions than those of the picked output', async () => {
  const two = await selected({ maximize: 'f1' }, [0.1, 0.3], { dimension: (i) => ({ lr: i, split: 'test' }), picks: (i) => ({ lr: i }) });
  expect(two.picked).toBe('model 1');
});

test('an unknown metric lists the known ones; outputs that fit no cell, or every cell, are rejected', async () => {
  await expect(selected({ maximize: 'F1' }, [0.5])).rejects.toMatchObject({
    message: 'evaluate[0] has no metric "F1"',
    hint: 'Did you mean f1? It has rows, f1, loss.',
  });
  await expect(selected({ maximize: 'recall' }, [0.5])).rejects.toMatchObject({ hint: 'It has rows, f1, loss.' });
  await expect(selected({ maximize: 'f1' }, [0.5, 0.6], { picks: () => ({}) })).rejects.toThrow(
    '2 outputs in `pick` belong to evaluate[1]: train[0], train[1]',
  );
  await expect(selected({ maximize: 'f1' }, [0.5], { picks: () => ({ lr: 9 }) })).rejects.toThrow(
    'no output in `pick` belongs to evaluate[0]: `pick` has train[0]',
  );
});

test('a choice by the test split is made, with a warning', async () => {
  const { warnings } = await selected({ maximize: 'f1' }, [0.5, 0.6], { split: 'test' });
  expect(warnings).toEqual([expect.stringMatching(/^the candidates were evaluated on the split test, .*`split: validation`/)]);
  expect((await selected({ maximize: 'f1' }, [0.5], { split: 'test' })).warnings).toEqual([]);
  expect((await selected({ maximize: 'f1' }, [0.5, 0.6])).warnings).toEqual([]);
});

test('a path that no step made does not shift the others: `pick` finds its cell, and `from` refuses such a path', async () => {
  const folder = temporary();
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const metrics = [0.8, 0.9].map((f1, i) => file(`metrics-${i}`, JSON.stringify({ split: 'validation', metrics: { f1 } })));
  const made = (cell: string) => [0, 1].map((lr) => ({ cell: `${cell}[lr=${lr}]`, matrix: { lr } }));
  const pick = ['own', '0', '1'].map((name) => file(`model-${name}`, `model ${name}`));
  const ran = await ranStep(
    definition,
    { maximize: 'f1' },
    { from: metrics, pick },
    { from: made('evaluate'), pick: [null, ...made('train')] },
  );
  expect(readFileSync(ran.outputs.pick!, 'utf8')).toBe('model 1');
  expect(ran.result).toMatch(/^chose train\[lr=1\]/);
  const own = file('own', '{"metrics":{"f1":1}}');
  const mixed = ranStep(definition, { maximize: 'f1' }, { from: [own, ...metrics], pick }, { from: [null, ...made('evaluate')], pick: [] });
  await expect(mixed).rejects.toThrow(`from: no step made ${own}`);
});
