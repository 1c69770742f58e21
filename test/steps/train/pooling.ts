/** Trainings in which a pooler learns. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../../steps/ml/models/safetensors.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import step from '../../../steps/train/step.ts';
import { type Ran, ranStep, table } from '../rig.ts';
import { rows, smallModel } from '../small.ts';

export const QUICK = { epochs: 1, batch_size: 8, learning_rate: 0.01, dropout: 0, runtime: 'onnx' };

export const POOLED = { temperature: 1, alpha: 0, hidden: 0, pooled: 2 };

export const POOLER = ['bert.pooler.dense.weight', 'bert.pooler.dense.bias'];

export async function trained(inputs: Record<string, string>, options: object = {}, ...more: unknown[]) {
  return ranStep(step, { ...QUICK, ...options }, inputs, {}, ...(more as []));
}

export const masked = async (model: string) =>
  (
    await ranStep(
      tokenize,
      { task: 'masked-lm', max_length: 24 },
      { data: await table(rows({ train: 40, validation: 8, test: 8 })), model },
    )
  ).outputs.tokens!;

/** A student without weights, its tokens for masked-lm, and a teacher for masked-lm. */
export async function lesson() {
  const model = smallModel({ num_hidden_layers: 2 });
  const teacher = smallModel({ num_hidden_layers: 3, initializer_range: 0.3 });
  await saveModel(teacher, await startModel(teacher, { task: 'masked-lm', labels: [], seed: 2, say: () => {} }));
  return { model, tokens: await masked(model), 'distill.teacher': teacher };
}

export const modelIn = ({ outputs }: Ran) => outputs.model!;

/** The weights of the pooler in a folder, by name; empty if there are none. */
export async function poolerIn(folder: string): Promise<Record<string, number[]>> {
  const all = await readSafetensors(join(folder, 'model.safetensors'));
  return Object.fromEntries(POOLER.flatMap((name) => (all[name] ? [[name, [...toFloat32(all[name])!]]] : [])));
}

export const bytesIn = (ran: Ran) => readFileSync(join(modelIn(ran), 'model.safetensors'));
