/** Bundles in transformers.js, which reads the ONNX files that `config.json` names. Needs the npm registry. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import deploy from '../../steps/deploy/step.ts';
import { answerAll } from '../../steps/ml/answering/answer-all.ts';
import { openBundle } from '../../steps/ml/answering/bundle.ts';
import { openRuntime } from '../../steps/ml/device/open.ts';
import { type GeneratedText, openGenerator } from '../../steps/ml/generation/generator.ts';
import { saveModel, startModel } from '../../steps/ml/models/model-folder.ts';
import { ranStep, temporary } from '../steps/rig.ts';
import { folderOf, small } from '../steps/serving/bundle.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';

const work = mkdtempSync(join(tmpdir(), 'tunesmith-transformers-js-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

beforeAll(() => {
  writeFileSync(join(work, 'package.json'), '{"type": "module"}');
  writeFileSync(join(work, 'scores.js'), SCORES);
  writeFileSync(join(work, 'texts.js'), TEXTS);
  // Its scripts would fetch libraries for GPUs.
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync('npm', ['install', ...flags, '@huggingface/transformers@4.3.2'], { cwd: work, stdio: 'pipe' });
});

const SCORES = `
import { env, pipeline } from '@huggingface/transformers';
env.allowRemoteModels = false;
const answers = [];
for (const { folder, options, text } of JSON.parse(process.argv[2])) {
  const model = await pipeline('text-classification', folder, options);
  answers.push(Object.fromEntries((await model(text, { top_k: null })).map(({ label, score }) => [label, score])));
}
console.log(JSON.stringify(answers));`;

const TEXTS = `
import { AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, env, pipeline } from '@huggingface/transformers';
env.allowRemoteModels = false;
const answers = [];
for (const { folder, task, options, prompts } of JSON.parse(process.argv[2])) {
  const tokenizer = await AutoTokenizer.from_pretrained(folder);
  const model = await (task === 'seq2seq' ? AutoModelForSeq2SeqLM : AutoModelForCausalLM).from_pretrained(folder, options);
  const tokens = [];
  for (const prompt of prompts) {
    const inputs = tokenizer(prompt);
    const all = (await model.generate({ ...inputs, max_new_tokens: 12, do_sample: false })).tolist()[0].map(Number);
    tokens.push(all.slice(task === 'seq2seq' ? 1 : inputs.input_ids.dims[1]));
  }
  const write = await pipeline(task === 'seq2seq' ? 'text2text-generation' : 'text-generation', folder, options);
  const text = (await write(prompts[0], { max_new_tokens: 12, do_sample: false }))[0].generated_text;
  answers.push({ tokens, text });
}
console.log(JSON.stringify(answers));`;

/** With `dtype` and without it, when config.json decides. */
const FILES = [
  { quantize: 'int8', options: [{}, { dtype: 'q8' }] },
  { quantize: 'fp16', options: [{}, { dtype: 'fp16' }] },
  { quantize: undefined, options: [{ dtype: 'fp32' }] },
];

const MODELS = {
  bert: { tokenizer: 'bert-uncased', config: small },
  roberta: { tokenizer: 'roberta', config: small },
  distilbert: { tokenizer: 'bert-cased', config: { dim: 12, n_layers: 2, n_heads: 3, hidden_dim: 20, max_position_embeddings: 20 } },
  electra: { tokenizer: 'electra', config: small },
};

const text = 'The cat sat on the mat.';

test.each(Object.entries(MODELS))('%s gives the same scores from every file', async (model_type, { tokenizer, config }) => {
  const labels = ['a', 'b', 'c'];
  const model = await folderOf({
    config: { ...config, model_type },
    tokenizer,
    start: { task: 'text-classification', labels },
    files: { 'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast' } },
  });
  const asked: { folder: string; options: object; text: string }[] = [];
  const expected: Record<string, number>[] = [];
  for (const { quantize, options } of FILES) {
    const { outputs } = await ranStep(deploy, { quantize }, { model });
    const answers = answerAll(await openBundle(outputs.bundle!), [[{ text }]], { threads: 1, signal: new AbortController().signal });
    for await (const [answer] of answers)
      for (const option of options) {
        asked.push({ folder: outputs.bundle!, options: option, text });
        expected.push((answer as { scores: Record<string, number> }).scores);
      }
  }
  const found = JSON.parse(
    execFileSync(process.execPath, ['scores.js', JSON.stringify(asked)], { cwd: work, encoding: 'utf8', stdio: 'pipe' }),
  );
  for (const [i, scores] of expected.entries())
    for (const label of labels) expect(found[i][label], `${model_type} ${JSON.stringify(asked[i])}`).toBeCloseTo(scores[label]!, 5);
});

test.each([
  ['causal-lm', (folder: string) => smallGpt2(folder, { initializer_range: 0.4 })],
  ['seq2seq', (folder: string) => smallT5(folder, ['cat', 'mat'], { tie_word_embeddings: false, num_layers: 2, num_decoder_layers: 2 })],
] as const)('%s: the same tokens from every file', async (task, write) => {
  const model = temporary();
  write(model);
  await saveModel(model, await startModel(model, { task, labels: [], seed: 6, say: () => {} }));
  const prompts = ['the cat', 'a', 'cat mat on the cat'];
  const asked: object[] = [];
  const expected: { tokens: number[][]; text: string }[] = [];
  for (const { quantize, options } of FILES) {
    const { outputs } = await ranStep(deploy, { quantize }, { model });
    const generator = await openGenerator(outputs.bundle!, await openRuntime('onnx', { threads: 1 }));
    const texts: GeneratedText[] = [];
    for (const prompt of prompts) {
      const settings = { do_sample: false, max_new_tokens: 12 };
      const [text] = await generator.generate([await generator.encode(prompt, settings)], settings);
      texts.push(text!);
    }
    await generator.close();
    for (const option of options) {
      asked.push({ folder: outputs.bundle!, task, options: option, prompts });
      expected.push({ tokens: texts.map(({ tokens }) => tokens), text: (task === 'causal-lm' ? prompts[0] : '') + texts[0]!.text });
    }
  }
  const found = JSON.parse(
    execFileSync(process.execPath, ['texts.js', JSON.stringify(asked)], { cwd: work, encoding: 'utf8', stdio: 'pipe' }),
  );
  for (const [i, one] of expected.entries()) expect(found[i], JSON.stringify(asked[i])).toEqual(one);
});
