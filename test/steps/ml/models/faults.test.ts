/**
 * Each fault of a model folder is reported in one sentence with the tensor, file or field, in training and in
 * inference.
 */
import { cpSync } from 'node:fs';
import { expect, test } from 'vitest';
import { shown } from '../../../../steps/ml/models/json.ts';
import { loadModel, startModel } from '../../../../steps/ml/models/model-folder.ts';
import { temporary } from '../../rig.ts';
import { FAULTS, soundModel } from './faults.ts';

test('faults are reported, in training and in inference', async () => {
  const sound = await soundModel();
  const said: Record<string, string | { train: string; predict: string }> = {};
  for (const [name, fault] of Object.entries(FAULTS)) {
    const folder = temporary();
    cpSync(sound, folder, { recursive: true });
    await fault(folder);
    const telling = (work: Promise<unknown>) =>
      work.then(
        () => 'sound',
        (error: Error) => {
          expect(error.name, `${name}: ${error.stack}`).toBe('StepError');
          return error.message.replaceAll(shown(folder), 'the model').replace(/(is not JSON:) .*/, '$1 …');
        },
      );
    const train = await telling(startModel(folder, { task: 'text-classification', labels: ['bad', 'good'], seed: 1, say: () => {} }));
    const predict = await telling(loadModel(folder));
    said[name] = train === predict ? train : { train, predict };
  }
  expect(said).toMatchSnapshot();
});
