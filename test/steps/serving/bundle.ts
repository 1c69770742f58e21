/**
 * A bundle with random weights, deployed by the real step; and the scores that evaluate would compute for raw texts.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deploy } from '../../../steps/deploy/deploy.ts';
import { type CleaningOptions, cleanText } from '../../../steps/ml/data/cleaning.ts';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { loadModel, type ModelStart, saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { openTokenizer } from '../../../steps/ml/models/tokenizer.ts';
import { silent, temporary } from '../rig.ts';

export const maxLength = 24;

export const cleaning: CleaningOptions = {
  remove: ['html', 'urls', 'emails', 'special_characters'],
  keep_characters: '',
  lowercase: true,
  whitespace: 'collapse',
  normalize: 'NFC',
};

const boxed = join(import.meta.dirname, '../../../pipelines/models/bert-tiny');

/** The folder of a trained model, as train leaves it. */
export async function makeModel(labels = ['ham', 'spam']): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-model-'));
  cpSync(boxed, folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(boxed, 'config.json'), 'utf8'));
  const small = { hidden_size: 16, num_hidden_layers: 1, intermediate_size: 32, max_position_embeddings: 32, initializer_range: 0.6 };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...small }));
  const model = await startModel(folder, { task: 'text-classification', labels, seed: 3, say: () => {} });
  await saveModel(folder, model);
  writeFileSync(join(folder, 'preprocessing.json'), JSON.stringify({ version: 1, text: cleaning }));
  writeFileSync(join(folder, 'training.json'), JSON.stringify({ max_length: maxLength, options: { epochs: 3 } }));
  return folder;
}

export async function makeBundle(model: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-bundle-'));
  const options = { target: 'bundle', name: 'tiny', license: 'apache-2.0' } as const;
  await deploy({ options, inputs: { model }, outputs: { bundle: folder }, threads: 1, ...silent });
  return folder;
}

/** Each text separately, op by op, with the weights of model.safetensors: no batch, no ONNX, no thread. */
export async function referenceScores(folder: string, texts: string[]): Promise<number[][]> {
  const model = await loadModel(folder, 'text-classification');
  const tokenizer = await openTokenizer(folder, { maxLength });
  const inference = (await openRuntime('eager')).inference(model.program, model.weights);
  const scores: number[][] = [];
  for (const { ids } of await tokenizer.encode(texts.map((text) => cleanText(text, cleaning)))) {
    const shape = [1, ids.length];
    const { logits } = await inference.run({
      input_ids: { dtype: 'int32', shape, data: Int32Array.from(ids) },
      attention_mask: { dtype: 'int32', shape, data: new Int32Array(ids.length).fill(1) },
    });
    const powers = Array.from(logits!.data as Float32Array, Math.exp);
    const sum = powers.reduce((a, b) => a + b);
    scores.push(powers.map((power) => power / sum));
  }
  await inference.dispose();
  return scores;
}

/** Waits until a server has received that many bytes of requests that it has not answered, or until they are answered. */
export async function receivedBytes(url: string, bytes: number, answers: Promise<unknown> = new Promise(() => {})): Promise<void> {
  let answered = false;
  const over = () => {
    answered = true;
  };
  answers.then(over, over);
  while (!answered) {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    if (Number(/^tunesmith_waiting_bytes (\d+)$/m.exec(metrics)![1]) >= bytes) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function remove(...folders: string[]): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

const tokenizers = join(import.meta.dirname, '../../golden/tokenizer');

/** Sizes of a model that is made in no time. */
export const small = { hidden_size: 12, num_hidden_layers: 2, num_attention_heads: 3, intermediate_size: 20, max_position_embeddings: 20 };

/** A Hugging Face folder with random weights. */
export interface Folder {
  config: object;
  tokenizer: string;
  start: Pick<ModelStart, 'task' | 'labels'>;
  files?: Record<string, object>;
  /** Sets weights: one value for all numbers of a weight, or each of them. */
  weights?: Record<string, number | number[]>;
}

export async function folderOf({ config, tokenizer, start, files = {}, weights = {} }: Folder): Promise<string> {
  const folder = temporary();
  cpSync(join(tokenizers, tokenizer), folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ vocab_size: 340, initializer_range: 0.5, ...config }));
  const model = await startModel(folder, { ...start, seed: 1, say: () => {} });
  for (const [name, value] of Object.entries(weights)) {
    const data = model.weights[name]!.data as Float32Array;
    if (typeof value === 'number') data.fill(value);
    else data.set(value);
  }
  await saveModel(folder, model);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content));
  return folder;
}
