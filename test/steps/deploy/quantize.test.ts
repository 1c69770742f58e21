import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import deploy from '../../../steps/deploy/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import { answerAll } from '../../../steps/ml/answering/answer-all.ts';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import train from '../../../steps/train/step.ts';
import { allRows } from '../../table.ts';
import { ranStep } from '../rig.ts';
import { rows, smallModel, smallTokens, splits } from '../small.ts';
import { quantizedTexts } from './quantized-texts.ts';
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

test('the quantized files of a model that generates text, their perplexity, and texts from them', () => quantizedTexts('causal-lm'));

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
