/** A model that int8 spoils. */
import { loadModel, saveModel } from '../../../steps/ml/models/model-folder.ts';
import { copyTokenizer } from '../../../steps/ml/models/tokenizer.ts';
import { temporary } from '../rig.ts';

/** A BERT with one large weight in each column, which reads an input that is always 0: the other weights of the column become 0 in int8. */
export async function spoilt(model: string): Promise<string> {
  const folder = temporary();
  const loaded = await loadModel(model);
  const { weights } = loaded;
  for (const name of ['weight', 'bias']) weights[`bert.embeddings.LayerNorm.${name}`]!.data[0] = 0;
  const { data, shape } = weights['bert.encoder.layer.0.attention.self.value.weight']!;
  for (let row = 0; row < shape[0]!; row++) data[row * shape[1]!] = 1e6;
  await saveModel(folder, loaded);
  await copyTokenizer(model, folder);
  return folder;
}
