/** Data are tokenized once for any training options, and labels with any characters keep their names and order. */
import { cpSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../rig.ts';
import { smallModel } from '../steps/small.ts';
import { pipeline, rows } from './token-sweep.ts';

test('a sweep over training options tokenizes once; a wider sweep or other options do not tokenize again', async () => {
  const p = project({ 'p.yaml': pipeline('[0.01]', '[4, 8]', 1), 'data.jsonl': rows('bad', 'good') });
  cpSync(smallModel(), p.path('model'), { recursive: true });
  const first = await p.states('p.yaml');
  expect(Object.values(first.cells)).toEqual(Array(5).fill('ran'));
  expect(Object.keys(first.cells).filter((cell) => cell.startsWith('tokenize'))).toEqual(['tokenize']);
  const shards = () => p.find('.tunesmith/outputs/p/tokenize').map((file) => [file, p.stat(file).mtimeMs]);
  const written = shards();
  for (const [rates, epochs] of [
    ['[0.01, 0.1]', 1],
    ['[0.01]', 2],
  ] as const) {
    p.write('p.yaml', pipeline(rates, '[4, 8]', epochs));
    const { cells } = await p.states('p.yaml');
    expect(cells).toMatchObject({ collect: 'fresh', split: 'fresh', tokenize: 'fresh' });
    expect(Object.values(cells)).toContain('ran');
    expect(shards()).toEqual(written);
  }
});
