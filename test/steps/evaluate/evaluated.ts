/** A trained model and its evaluation. */
import { cpSync, existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import step from '../../../steps/evaluate/step.ts';
import train from '../../../steps/train/step.ts';
import { allRows } from '../../table.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

/** A copy of a model and its tokens. A model for the same labels and counts is trained only once. */
export async function trained(labels?: string[], counts?: Record<string, number>) {
  const made = join(kept, JSON.stringify([labels, counts]));
  if (!existsSync(made)) {
    const model = smallModel();
    const tokens = await smallTokens(model, labels, counts);
    const options = { task: 'text-classification', epochs: 3, learning_rate: 0.02, batch_size: 4, runtime: 'eager' };
    cpSync((await ranStep(train, options, { model, tokens })).outputs.model!, join(made, 'model'), { recursive: true });
    cpSync(tokens, join(made, 'tokens'), { recursive: true });
  }
  const copy = temporary();
  cpSync(made, copy, { recursive: true });
  return { tokens: join(copy, 'tokens'), model: join(copy, 'model') };
}

export const kept = mkdtempSync(join(tmpdir(), 'tunesmith-step-'));

export async function evaluated(inputs: { model: string; tokens: string; data?: string }, options: object = {}) {
  const ran = await ranStep(step, { runtime: 'eager', ...options }, inputs);
  const report = JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8'));
  const predictions = await allRows(ran.outputs.predictions!);
  return { ...ran, report, predictions };
}
