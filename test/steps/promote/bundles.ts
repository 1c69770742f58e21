/** Bundles that can be promoted. Their ONNX models are not opened before they answer, so they need not be real. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../rig.ts';
import { temporary } from '../rig.ts';
import { smallModel } from '../small.ts';

const CLASSIFIER = {
  architectures: ['BertForSequenceClassification'],
  id2label: { 0: 'bad', 1: 'good' },
  label2id: { bad: 0, good: 1 },
};

export function promotable(name: string, folder = join(temporary(), name)): string {
  cpSync(smallModel(CLASSIFIER), folder, { recursive: true });
  cpSync(join(root, 'pipelines/models/bert-tiny/config.json'), join(folder, 'onnx/model.onnx'));
  writeFileSync(join(folder, 'training.json'), JSON.stringify({ name }));
  return folder;
}
