import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import deploy from '../../../steps/deploy/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import { answerAll } from '../../../steps/ml/answering/answer-all.ts';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { openGenerator } from '../../../steps/ml/generation/generator.ts';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { allRows } from '../../table.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { rows, smallModel, smallTokens, splits } from '../small.ts';
import { smallGpt2, smallT5 } from '../writers.ts';
import { spoilt } from './spoilt.ts';

const json = (...parts: string[]) => JSON.parse(readFileSync(join(...parts), 'utf8'));

test('a quantized bundle: its file, what it changes, the limit, and the same answers everywhere', async () => {
  const base = smallModel();
  const tokens = await smallTokens(base);
  const trained = await ranStep(
    train,
    { task: 'text-classification', epochs: 3, batch_size: 8, learning_rate: 1e-2 },
    { tokens, model: base },
  );
  const model = trained.outputs.model!;

  for (const [quantize, file, dtype] of [
    ['int8', 'onnx/model_quantized.onnx', 'q8'],
    ['fp16', 'onnx/model_fp16.onnx', 'fp16'],
  ] as const) {
    const { outputs, log, warnings } = await ranStep(deploy, { quantize, max_loss: 0.3 }, { model, tokens });
    const bundle = outputs.bundle!;
    expect(existsSync(join(bundle, file))).toBe(true);
    expect(existsSync(join(bundle, 'onnx/model.onnx'))).toBe(false);
    expect(json(bundle, 'config.json')['transformers.js_config']).toEqual({ dtype });
    expect(warnings).toEqual([]);
    expect(log.join('\n')).toMatch(new RegExp(`${quantize}: accuracy [\\d.]+ → [\\d.]+ \\([±+−][\\d.]+\\) on 20 rows of validation`));
    const { change, ...sizes } = json(bundle, 'quantization.json');
    expect(sizes).toMatchObject({ quantize, file });
    expect(sizes.bytes).toBeLessThan(sizes.float32_bytes);
    expect(change).toMatchObject({ split: 'validation', rows: 20, metric: 'accuracy', max_loss: 0.3 });
    const card = readFileSync(join(bundle, 'README.md'), 'utf8');
    for (const words of ['## Quantization', `| metric | float32 | ${quantize} | change |`, `dtype: '${dtype}'`])
      expect(card).toContain(words);

    const opened = await openBundle(bundle);
    expect(opened).toMatchObject({ model: join(bundle, file), quantization: quantize });
    // Of rows in batches, as evaluate wrote them, and of each text alone.
    const evaluated = await ranStep(evaluate, { split: 'validation' }, { model: bundle, tokens });
    expect(evaluated.metrics.accuracy).toBe(change.after.accuracy);
    const predictions = await allRows(evaluated.outputs.predictions!);
    const texts = new Map(rows(splits).map(({ id, text }) => [id!, text!]));
    for (const { id, scores } of predictions.slice(0, 5)) {
      const inputs = [{ text: texts.get(id)! }];
      for await (const [answer] of answerAll(opened, [inputs], { threads: 1, signal: new AbortController().signal }))
        expect(Object.values((answer as any).scores)).toEqual(Object.values(scores).map((score) => expect.closeTo(score as number, 6)));
    }
    // A folder from a hub has no ONNX model: it is made again.
    const stored = readFileSync(join(bundle, file));
    rmSync(join(bundle, 'onnx'), { recursive: true });
    const again = await openBundle(bundle);
    expect(again.quantization).toBe(quantize);
    expect(stored.equals(again.model as Uint8Array)).toBe(true);
  }

  const broken = await spoilt(model);
  const ran = ranStep(deploy, { quantize: 'int8', max_loss: 0.05 }, { model: broken, tokens });
  await expect(ran).rejects.toThrow(
    /^`quantize: int8` lowers accuracy on validation from [\d.]+ to 0\.500, by [\d.]+, and `max_loss` allows 0\.05$/,
  );
  await expect(ranStep(deploy, { quantize: 'fp16' }, { model: broken })).rejects.toThrow('contains 1000000, which is too large for fp16');
});

test.each(['causal-lm', 'seq2seq'] as const)('%s: the quantized files, their perplexity, and texts from them', async (task) => {
  const base = temporary();
  if (task === 'causal-lm') smallGpt2(base);
  else smallT5(base, ['cat', 'mat'], { tie_word_embeddings: false });
  await saveModel(base, await startModel(base, { task, labels: [], seed: 3, say: () => {} }));
  const examples = Array.from({ length: 24 }, (_, i) => ({
    id: `r${i}`,
    text: `cat ${'mat dog rat'.split(' ')[i % 3]} ${i % 5}`,
    target: i % 2 ? 'cat' : 'the mat',
    split: i < 16 ? 'train' : 'validation',
  }));
  const tokenized = await ranStep(
    tokenize,
    { task, max_length: 12, ...(task === 'seq2seq' && { target: 'target' }) },
    { data: await table(examples), model: base },
  );
  const tokens = tokenized.outputs.tokens!;
  const names = task === 'causal-lm' ? ['model'] : ['decoder_model_merged', 'encoder_model'];
  for (const [quantize, suffix] of [
    ['int8', 'quantized'],
    ['fp16', 'fp16'],
  ] as const) {
    const { outputs, log, warnings } = await ranStep(deploy, { quantize, max_loss: 1000 }, { model: base, tokens });
    const bundle = outputs.bundle!;
    expect(readdirSync(join(bundle, 'onnx')).sort()).toEqual(names.map((name) => `${name}_${suffix}.onnx`));
    expect(warnings).toEqual([]);
    expect(log.join('\n')).toMatch(new RegExp(`${quantize}: perplexity [\\d.]+ → [\\d.]+ \\([±+−][\\d.]+\\) on \\d+ rows of validation`));
    const { bytes, float32_bytes, change } = json(bundle, 'quantization.json');
    expect(bytes).toBeLessThan(float32_bytes);
    expect(change.after.perplexity).not.toBe(change.before.perplexity);
    const evaluated = await ranStep(evaluate, { split: 'validation', metrics: ['perplexity'] }, { model: bundle, tokens });
    expect(evaluated.metrics.perplexity).toBeCloseTo(change.after.perplexity, 4);

    const settings = { do_sample: false, max_new_tokens: 8 };
    const textsOf = async (folder: string) => {
      const generator = await openGenerator(folder, await openRuntime('onnx', { threads: 1 }));
      const prompts = await Promise.all(['the cat', 'a'].map((prompt) => generator.encode(prompt, settings)));
      // Beside other prompts and alone, also after a long one.
      const together = await generator.generate(prompts, settings);
      expect([...(await generator.generate([prompts[0]!], settings)), ...(await generator.generate([prompts[1]!], settings))]).toEqual(
        together,
      );
      await generator.close();
      return together;
    };
    const texts = await textsOf(bundle);
    if (quantize === 'fp16') continue;
    // The weights before quantization are not read; a folder from a hub has no ONNX model, which is then made of them.
    const weights = join(bundle, 'model.safetensors');
    renameSync(weights, join(bundle, 'kept'));
    expect(await textsOf(bundle)).toEqual(texts);
    renameSync(join(bundle, 'kept'), weights);
    rmSync(join(bundle, 'onnx'), { recursive: true });
    expect(await textsOf(bundle)).toEqual(texts);
  }
  // A model that has learned nothing has a perplexity of many thousands.
  if (task === 'seq2seq')
    await expect(ranStep(deploy, { quantize: 'fp16', max_loss: 2 }, { model: base, tokens })).rejects.toThrow(
      /^`quantize: fp16` raises perplexity on validation from \d+\.\d+ to \d+\.\d+, by \d+\.\d+, and `max_loss` allows 2$/,
    );
});

test('options that do not fit are refused before anything runs', async () => {
  const problems = (options: object, inputs: object = {}) => [
    ...deploy.check!(options as never),
    ...(deploy.foresee!.check(options as never, inputs as never, {}, new Set()) as { message: string }[]),
  ];
  const tokenize = (task: string) => ({
    tokens: [{ cell: 'tokenize', uses: 'tokenize', options: { task }, output: 'tokens', inputs: {} }],
  });
  expect(problems({ max_loss: 0.1 }).map(({ message }) => message)).toEqual(['`max_loss` applies only to `quantize`']);
  expect(problems({ quantize: 'int8', max_loss: 0.1 }).map(({ message }) => message)).toEqual(['`max_loss` needs the input `tokens`']);
  expect(problems({}, tokenize('text-classification')).map(({ message }) => message)).toEqual([
    '`tokens` has no effect without `quantize`',
  ]);
  expect(problems({ quantize: 'int8', max_loss: 0.1 }, tokenize('text-classification'))).toEqual([]);
});
