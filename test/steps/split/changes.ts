/** Splits of rows that are added, removed and reordered. */
import { expect } from 'vitest';
import definition from '../../../steps/split/step.ts';
import { readRows } from '../../table.ts';
import { ranStep, table } from '../rig.ts';

export const rows = (n: number, from = 0) =>
  Array.from({ length: n }, (_, i) => ({
    id: `r${from + i}`,
    text: `text number ${from + i}`,
    label: (from + i) % 5 === 0 ? 'spam' : 'ham',
  }));

export const THIRDS = { ratios: [0.8, 0.1, 0.1], stratify: 'label', seed: 7 };

export async function splitOf(data: object[], options: object = THIRDS, previous?: string): Promise<Map<string, string>> {
  return (await ran(data, options, previous)).splits;
}

/** `assignment`: the file; `warnings`: those of the step. */
export async function ran(data: object[], options: object, previous?: string) {
  const { outputs, warnings } = await ranStep(definition, options, { data: await table(data), ...(previous && { previous }) });
  const splits = new Map<string, string>();
  for await (const chunk of readRows(outputs.data!, ['id', 'split']))
    for (const row of chunk) splits.set(String(row.id), String(row.split));
  return { splits, warnings, assignment: outputs.assignment!, data: outputs.data! };
}

export const count = (splits: Map<string, string>, split: string) => [...splits.values()].filter((s) => s === split).length;

/** Growths, shrinkings and reorderings of the same rows; the same each time. */
export function* changes(sizes: number[]): Generator<object[]> {
  let state = 1;
  const random = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const all = rows(700);
  for (const size of sizes) {
    const shuffled = all.map((row) => ({ row, at: random() })).sort((a, b) => a.at - b.at);
    yield shuffled.slice(0, size).map(({ row }) => row);
  }
}

export async function staysPut(options: object, sizes: number[]): Promise<void> {
  const known = new Map<string, string>();
  for (const data of changes(sizes))
    for (const [id, split] of await splitOf(data, { assign: 'stable', seed: 3, ...options })) {
      expect(known.get(id) ?? split).toBe(split);
      known.set(id, split);
    }
  expect(new Set(known.values()).size).toBe('ratios' in options ? 2 : 3);
}

export async function keepsPrevious(sizes: number[]): Promise<void> {
  const known = new Map<string, string>();
  let previous: string | undefined;
  let last = new Map<string, string>();
  for (const data of changes(sizes)) {
    const { splits, assignment } = await ran(data, THIRDS, previous).catch(() => ran(data, { ...THIRDS, stratify: undefined }, previous));
    for (const [id, split] of splits) {
      expect(known.get(id) ?? split).toBe(split);
      known.set(id, split);
    }
    [previous, last] = [assignment, splits];
    if (data.length === 700) expect([count(splits, 'train'), count(splits, 'validation'), count(splits, 'test')]).toEqual([560, 70, 70]);
  }
  expect(last.size).toBe(12);
}
