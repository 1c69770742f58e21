/** The steps from texts to a model that writes. */
import { expect } from 'vitest';
import { project } from '../rig.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';
import { allRows } from '../table.ts';

export const NAMES = ['anna', 'bert', 'carl', 'dora', 'emil', 'fred'];

export const CITIES = ['paris', 'london', 'oslo', 'rome', 'bonn', 'graz'];

/** Everyone lives in a different city. */
export const homes = Array.from({ length: 120 }, (_, i) => {
  const [name, city] = [NAMES[i % 6]!, CITIES[i % 6]!];
  return { id: `row-${i}`, text: `${name} is in ${city}`, prompt: `${name} is`, completion: ` in ${city}`, target: `${city} ${name}` };
});

export const pipeline = (tokenize: string, train: string) => `
steps:
  collect: { uses: collect, with: { files: data.jsonl } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", key: [id] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, ${tokenize} } }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, batch_size: 8, learning_rate: 0.003, seed: 1, ${train} }
  test: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}" } }
`;

export function made(tokenize: string, train: string) {
  const p = project({ 'p.yaml': pipeline(tokenize, train), 'data.jsonl': homes.map((row) => `${JSON.stringify(row)}\n`).join('') });
  if (tokenize.includes('seq2seq')) smallT5(p.path('model'), ['home', 'is', 'in', ...NAMES, ...CITIES]);
  else smallGpt2(p.path('model'));
  return p;
}

export const outputs = '.tunesmith/outputs/p';

export async function trained(tokenize: string, train: string) {
  const p = made(tokenize, train);
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const json = (name: string) => JSON.parse(p.read(`${outputs}/${name}`));
  return {
    p,
    screen: run.screen,
    metrics: json('test/metrics'),
    tokens: json('tokenize/tokens/tokens.json'),
    config: json('train/model/config.json'),
    training: json('train/model/training.json'),
    predictions: await allRows(p.path(`${outputs}/test/predictions`)),
  };
}
