/** A model that writes, with random weights. */
import { saveModel, startModel } from '../../steps/ml/models/model-folder.ts';
import type { Project } from '../rig.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';

export const lines = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { text: string; tokens: number[] });

export async function randomModel(p: Project, task: 'causal-lm' | 'seq2seq', change: object = {}): Promise<void> {
  if (task === 'causal-lm') smallGpt2(p.path('model'), { initializer_range: 0.6, ...change });
  else smallT5(p.path('model'), ['the', 'cat', 'sat']);
  await saveModel(p.path('model'), await startModel(p.path('model'), { task, labels: [], seed: 3, say: () => {} }));
}
