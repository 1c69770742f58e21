/** The effects of the train step's options. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import collect from '../../../steps/collect/step.ts';
import { albert } from '../../../steps/ml/models/albert.ts';
import { electra } from '../../../steps/ml/models/electra.ts';
import type { Config, Family } from '../../../steps/ml/models/family.ts';
import { gpt2 } from '../../../steps/ml/models/gpt2.ts';
import { loadModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { modernBert } from '../../../steps/ml/models/modernbert.ts';
import { t5 } from '../../../steps/ml/models/t5.ts';
import type { TrainingOptions } from '../../../steps/ml/runtime/runtime.ts';
import { memoryOf } from '../../../steps/ml/runtime/training-memory.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { parameterGroups } from '../../../steps/train/parameter-groups.ts';
import step from '../../../steps/train/step.ts';
import { adamW } from '../ml/runtime/options.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { rows, smallModel, smallTokens } from '../small.ts';
import { quick, sameWeights, smallInputs, trained, type Weights } from './small-training.ts';

/** ‖a − b‖ / ‖b‖ of all weights as one vector. */
function distance(a: Weights, b: Weights): number {
  let [difference, norm] = [0, 0];
  for (const [name, values] of Object.entries(b))
    for (const [i, x] of values.entries()) {
      difference += (a[name]![i]! - x) ** 2;
      norm += x ** 2;
    }
  return Math.sqrt(difference / norm);
}

test('k parts of b learn the same as one batch of k·b, including the last, smaller batch', async () => {
  const inputs = await smallInputs();
  // SGD, because Adam makes steps of any size from gradients that are zero except for rounding, such as those of the
  // keys' biases.
  const options = { epochs: 2, optim: 'sgd', momentum: 0.9, learning_rate: 0.05 };
  const whole = await trained({ ...options, batch_size: 12 }, inputs);
  const parts = await trained({ ...options, batch_size: 3, gradient_accumulation_steps: 4 }, inputs);
  expect(parts.history.map(({ step }) => step)).toEqual(whole.history.map(({ step }) => step));
  expect(distance(parts.weights, whole.weights)).toBeLessThan(1e-6);
});

test('parts with unequal numbers of labels are weighted by their labels, and by class weights', async () => {
  const model = smallModel();
  const lines = rows({ train: 30, validation: 8 }).map(({ text, split }) => {
    const tokens = text!.trim().split(/\s+/);
    return JSON.stringify({ split, tokens, tags: tokens.map((word) => (word.length > 4 ? 'B-LONG' : 'O')) });
  });
  const file = join(temporary(), 'words.jsonl');
  writeFileSync(file, lines.join('\n'));
  const collected = await ranStep(collect, {}, { files: [file] });
  const options = { task: 'token-classification', max_length: 24, tokens: 'tokens', tags: 'tags' };
  const { outputs } = await ranStep(tokenize, options, { data: collected.outputs.data!, model });
  const inputs = { model, tokens: outputs.tokens! };
  const sgd = { optim: 'sgd', learning_rate: 0.05, class_weights: { 'B-LONG': 3, O: 0.5 } };
  const whole = await trained({ ...sgd, batch_size: 8 }, inputs);
  const parts = await trained({ ...sgd, batch_size: 2, gradient_accumulation_steps: 4 }, inputs);
  expect(distance(parts.weights, whole.weights)).toBeLessThan(1e-6);
});

test('parts of a batch of questions are padded alike, because the loss compares all positions, including padding', async () => {
  const model = smallModel();
  const lines = rows({ train: 30, validation: 8 }).map(({ text, split }, i) => {
    const context = text!.trim();
    return JSON.stringify({ split, question: 'was the day', context, answers: i % 5 === 0 ? [] : [context.split(' ').at(-1)] });
  });
  const file = join(temporary(), 'questions.jsonl');
  writeFileSync(file, lines.join('\n'));
  const collected = await ranStep(collect, {}, { files: [file] });
  const { outputs } = await ranStep(tokenize, { task: 'question-answering', max_length: 24 }, { data: collected.outputs.data!, model });
  const inputs = { model, tokens: outputs.tokens! };
  const sgd = { optim: 'sgd', learning_rate: 0.05 };
  const whole = await trained({ ...sgd, batch_size: 10 }, inputs);
  const parts = await trained({ ...sgd, batch_size: 2, gradient_accumulation_steps: 5 }, inputs);
  expect(distance(parts.weights, whole.weights)).toBeLessThan(1e-6);
});

test('frozen weights do not change, the others do; a pattern without a match is an error', async () => {
  const { tokens, model } = await smallInputs();
  const start = await trained({}, { tokens, model });
  const inputs = { tokens, model: start.outputs.model! };
  const { weights } = await trained({ freeze: ['embeddings', 'layer.0.attention'] }, inputs);
  for (const [name, values] of Object.entries(weights)) {
    if (/embeddings|attention/.test(name)) expect(values, name).toEqual(start.weights[name]);
    else expect(values, name).not.toEqual(start.weights[name]);
  }
  await expect(trained({ freeze: ['layer.7'] }, inputs)).rejects.toMatchObject({
    message: 'freeze: no weight matches "layer.7"',
    option: ['freeze'],
  });
  await expect(trained({ freeze: ['bert', 'classifier'] }, inputs)).rejects.toThrow('all weights are frozen');
  await expect(trained({ freeze: ['bert'], layer_wise_learning_rate_decay: 0.9 }, inputs)).rejects.toMatchObject({
    message: 'layer_wise_learning_rate_decay has no effect: all layers are frozen',
    option: ['layer_wise_learning_rate_decay'],
  });
  await expect(trained({ freeze: ['weight'], weight_decay: 0.1 }, inputs)).rejects.toMatchObject({
    message: 'weight_decay has no effect: only biases and norms are trained',
    option: ['weight_decay'],
  });
});

test('lower layers learn more slowly', async () => {
  const inputs = await smallInputs({ num_hidden_layers: 2 });
  // In one step of SGD, the change of a weight is its rate times its gradient.
  const options = { optim: 'sgd', learning_rate: 0.1, batch_size: 70, max_grad_norm: 0 };
  const start = await trained({ ...options, learning_rate: 1e-12 }, inputs);
  const [all, falling] = [await trained(options, inputs), await trained({ ...options, layer_wise_learning_rate_decay: 0.5 }, inputs)];
  const moved = ({ weights }: { weights: Weights }, name: string) =>
    Math.hypot(...weights[name]!.map((x, i) => x - start.weights[name]![i]!));
  const ratio = (name: string) => moved(falling, name) / moved(all, name);
  expect(ratio('classifier.weight')).toBeCloseTo(1, 3);
  expect(ratio('bert.encoder.layer.1.output.dense.weight')).toBeCloseTo(0.5, 3);
  expect(ratio('bert.encoder.layer.0.output.dense.weight')).toBeCloseTo(0.25, 3);
  expect(ratio('bert.embeddings.word_embeddings.weight')).toBeCloseTo(0.125, 2);
});

test('gradient checkpointing: the same weights bit for bit, with dropout and adapters', () =>
  sameWeights({ r: 2, alpha: 4, dropout: 0.1, merge: true }));

test('gradient checkpointing keeps the activations of one layer, not of all', async () => {
  const { program, weights } = await startModel(smallModel({ num_hidden_layers: 12 }), {
    task: 'text-classification',
    labels: ['a', 'b'],
    seed: 0,
    say: () => {},
  });
  const ids = { dtype: 'int32' as const, shape: [16, 64], data: new Int32Array(16 * 64) };
  const largest = { input_ids: ids, attention_mask: ids, labels: { dtype: 'int32' as const, shape: [16], data: new Int32Array(16) } };
  const options: TrainingOptions = { ...adamW(0, () => false), maxGradNorm: 1 };
  const [plain, checkpointed] = [false, true].map(
    (checkpointing) => memoryOf({ program, weights }, { ...options, checkpointing }, { largest, parts: 1, keepsBest: false }).activations,
  );
  expect(checkpointed!).toBeLessThan(0.3 * plain!);
});

test('layers that share one set of weights cannot have their own learning rates', () => {
  const model = (num_hidden_groups: number) => {
    const config = albert.configure({
      model_type: 'albert',
      hidden_size: 8,
      num_attention_heads: 2,
      num_hidden_layers: 4,
      num_hidden_groups,
    });
    return { family: albert, config, parameters: albert.parameters(config) };
  };
  const options = { layer_wise_learning_rate_decay: 0.5, weight_decay: 0 };
  expect(() => parameterGroups(model(1), options)).toThrow(
    'layer_wise_learning_rate_decay cannot be used with albert, whose layers share their weights',
  );
  const own = parameterGroups(model(4), options);
  expect(own('albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight')!.learningRateFactor).toBe(0.0625);
  const lowest = own('albert.embeddings.word_embeddings.weight');
  expect(lowest!.learningRateFactor).toBe(0.03125);
  expect(own('albert.encoder.embedding_hidden_mapping_in.weight')).toEqual(lowest);
});

test("lower layers of GPT-2, ModernBERT and ELECTRA, and of T5's decoder above its encoder, learn more slowly", () => {
  const options = { layer_wise_learning_rate_decay: 0.5, weight_decay: 0 };
  const ratesOf = (family: Family, file: object) => {
    const rate = parameterGroups(
      { family, config: family.configure({ ...file }), parameters: family.parameters(family.configure({ ...file })) },
      options,
    );
    return (name: string) => rate(name)!.learningRateFactor;
  };
  const ofGpt2 = ratesOf(gpt2, { n_layer: 2, vocab_size: 8, eos_token_id: 0 });
  expect(['ln_f.weight', 'h.1.ln_1.weight', 'h.0.mlp.c_fc.weight', 'wpe.weight'].map((name) => ofGpt2(`transformer.${name}`))).toEqual([
    1, 0.5, 0.25, 0.125,
  ]);
  const ofT5 = ratesOf(t5, { num_layers: 2, num_decoder_layers: 1, vocab_size: 8 });
  const names = [
    'decoder.final_layer_norm.weight',
    'decoder.block.0.layer.2.DenseReluDense.wo.weight',
    'encoder.final_layer_norm.weight',
    'encoder.block.1.layer.0.SelfAttention.q.weight',
    'encoder.block.0.layer.0.SelfAttention.q.weight',
    'shared.weight',
  ];
  expect(names.map(ofT5)).toEqual([1, 0.5, 0.25, 0.25, 0.125, 0.0625]);
  const ofModernBert = ratesOf(modernBert, {
    num_hidden_layers: 2,
    hidden_size: 8,
    num_attention_heads: 2,
    vocab_size: 8,
    pad_token_id: 0,
  });
  const layers = ['final_norm.weight', 'layers.1.attn_norm.weight', 'layers.0.mlp.Wi.weight', 'embeddings.norm.weight'];
  expect(layers.map((name) => ofModernBert(`model.${name}`))).toEqual([1, 0.5, 0.25, 0.125]);
  const ofElectra = ratesOf(electra, { num_hidden_layers: 1, hidden_size: 8, embedding_size: 4, vocab_size: 8 });
  const parts = ['encoder.layer.0.output.dense.weight', 'embeddings_project.weight', 'embeddings.LayerNorm.bias'];
  expect(parts.map((name) => ofElectra(`electra.${name}`))).toEqual([0.5, 0.25, 0.25]);
});

test('the family alone knows how deep a weight is, whatever the weights are called', () => {
  const names = ['tokens', 'tower one', 'tower two', 'top'];
  const parameters = Object.fromEntries(names.map((name) => [name, { shape: [1, 1], start: 'zeros' as const, decay: true }]));
  const family = { type: 'toy', depthOf: (name: string) => ({ tokens: 0, 'tower one': 1, 'tower two': 2 })[name] } as unknown as Family;
  const options = { layer_wise_learning_rate_decay: 0.5, weight_decay: 0 };
  const rate = parameterGroups({ family, config: {} as Config, parameters }, options);
  expect(names.map((name) => rate(name)!.learningRateFactor)).toEqual([0.125, 0.25, 0.5, 1]);
});

test("as in transformers' Trainer, weight decay treats T5's relative attention biases as biases, whatever their shape", () => {
  const config = t5.configure({ num_layers: 1, vocab_size: 8 });
  const own = parameterGroups(
    { family: t5, config, parameters: t5.parameters(config) },
    { layer_wise_learning_rate_decay: 1, weight_decay: 0.1 },
  );
  const decay = (name: string) => own(name)!.weightDecay;
  expect(decay('encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight')).toBe(0);
  expect(decay('encoder.block.0.layer.0.SelfAttention.q.weight')).toBe(0.1);
  expect(decay('shared.weight')).toBe(0.1);
});

test('the schedule follows its options', async () => {
  const options = { lr_scheduler_type: 'polynomial', lr_scheduler_kwargs: { power: 2, lr_end: 0.001 } };
  const { history } = await trained({ ...options, runtime: 'eager' }, await smallInputs());
  const rates = history.flatMap(({ learning_rate }) => learning_rate ?? []);
  expect(rates[0]).toBe(0.005);
  expect(rates[9]).toBeCloseTo(0.001 + 0.004 * 0.5 ** 2, 10); // half of 18 steps are over
});

test('a warning reports a warmup that does not end', async () => {
  const inputs = await smallInputs();
  const { warnings, history } = await trained({ warmup_steps: 18, runtime: 'eager' }, inputs);
  expect(warnings).toEqual([
    'warmup_steps: the training has 18 steps and a warmup of 18, so the learning rate never reaches learning_rate',
  ]);
  expect(Math.max(...history.flatMap(({ learning_rate }) => learning_rate ?? []))).toBeLessThan(0.005);
  expect((await trained({ warmup_steps: 17, runtime: 'eager' }, inputs)).warnings).toEqual([]);
});

test.each([{ optim: 'adafactor' }, { sampler: 'balanced' }])('it learns with %j', async (options) => {
  const { metrics } = await trained({ epochs: 4, learning_rate: 0.02, ...options }, await smallInputs());
  expect(metrics.validation_accuracy).toBeGreaterThan(0.9);
});

test('class weights and smoothing change the loss; balanced weights of balanced labels do not', async () => {
  const inputs = await smallInputs();
  const plain = await trained({}, inputs);
  expect((await trained({ class_weights: 'balanced' }, inputs)).history[0].loss).toBeCloseTo(plain.history[0].loss, 5);
  const learned = { epochs: 4, learning_rate: 0.02 };
  const [sharp, smooth] = [await trained(learned, inputs), await trained({ ...learned, label_smoothing_factor: 0.2 }, inputs)];
  // The least loss of a target of 0.9 and 0.1 is its entropy.
  expect(sharp.history.at(-1).train_loss).toBeLessThan(0.2);
  expect(smooth.history.at(-1).train_loss).toBeGreaterThan(0.325);
  await expect(trained({ class_weights: { bad: 1 } }, inputs)).rejects.toMatchObject({
    message: 'class_weights has no weight for good',
    hint: 'The labels are bad, good.',
  });
  await expect(trained({ class_weights: { bad: 1, good: 1, ugly: 1 } }, inputs)).rejects.toThrow('there is no label ugly');
});

const defaults = Object.fromEntries(
  Object.entries(step.options!).map(([name, schema]) => [name, (schema as { default?: unknown }).default]),
);

test.each([
  [{ momentum: 0.9 }, 'momentum', '`momentum` applies only to `optim: sgd`, not to adamw'],
  [{ optim: 'sgd', nesterov: true }, 'nesterov', '`nesterov` needs a `momentum` greater than 0'],
  [{ optim: 'adafactor', adam_beta1: 0.8 }, 'adam_beta1', '`adam_beta1` applies only to `optim: adamw`, not to adafactor'],
  [
    { gradient_checkpointing: true, runtime: 'eager' },
    'gradient_checkpointing',
    '`gradient_checkpointing` needs a runtime that compiles: `runtime: eager` does not',
  ],
  [{ optim: 'sgd', runtime: 'tensorflow' }, 'optim', '`runtime: tensorflow` supports only `optim: adamw`, not sgd'],
  [
    { optim: 'sgd', precision: 'bf16' },
    'precision',
    '`precision: bf16` needs `runtime: tensorflow`, which supports only `optim: adamw`, not sgd',
  ],
  [{ positive: 'good', eval_strategy: 'no' }, 'positive', '`positive` applies to evaluations, and `eval_strategy: no` makes none'],
  [
    { lr_scheduler_kwargs: { num_cycles: 2 } },
    'lr_scheduler_kwargs.num_cycles',
    '`num_cycles` applies only to `lr_scheduler_type: cosine_with_restarts`, not to linear',
  ],
  [
    { lr_scheduler_type: 'polynomial', lr_scheduler_kwargs: { lr_end: 1 } },
    'learning_rate',
    '`learning_rate` must be greater than `lr_end`, the final learning rate of polynomial (default: 1e-7)',
  ],
  [{ lora: {}, freeze: ['embeddings'] }, 'freeze', '`lora` trains only its adapters and the head: all other weights are frozen already'],
  [
    { lora: {}, distill: { temperature: 1, alpha: 0, hidden: 0, pooled: 1 } },
    'distill.pooled',
    '`pooled` cannot be combined with `lora`, which does not train the pooler',
  ],
  [
    { lora: {}, save_optimizer: true },
    'save_optimizer',
    '`save_optimizer` cannot be combined with `lora`, because the adapters are merged: to train further, give the trained model as `model`',
  ],
  [
    { from_scratch: true, replace_head: true },
    'replace_head',
    '`replace_head` has no effect with `from_scratch: true`, which initializes all weights',
  ],
  [
    { sampler: 'balanced', class_weights: 'balanced' },
    'class_weights',
    '`sampler: balanced` and `class_weights: balanced` together would weight each class twice',
  ],
  [
    { sampler: 'balanced', reweigh: { group: 'source' } },
    'reweigh',
    '`reweigh` counts groups and labels in the training split, and `sampler: balanced` draws rows in other shares: use one of them',
  ],
  [
    { distill: { alpha: 1, hidden: 0, temperature: 1 }, reweigh: { group: 'source' } },
    'reweigh',
    '`reweigh` has no effect with `distill: { alpha: 1 }`, which ignores the labels',
  ],
])('%j is rejected', (options, option, message) => {
  expect(step.check!({ ...defaults, ...options } as never)).toContainEqual({ option, message });
});

test('options that do not apply to the tokens are rejected', async () => {
  const model = smallModel();
  const tokens = await smallTokens(model);
  await expect(trained({ mlm_probability: 0.3 }, { model, tokens })).rejects.toThrow(
    '`mlm_probability` does not apply to text-classification',
  );
  const untested = await smallTokens(model, undefined, { train: 12 });
  await expect(trained({ positive: 'good' }, { model, tokens: untested })).rejects.toThrow('the tokens have no split "validation"');
  const data = await table(rows({ train: 12, validation: 4 }));
  const { outputs } = await ranStep(tokenize, { task: 'masked-lm', max_length: 24 }, { data, model });
  for (const [name, value] of Object.entries({ replace_head: true, sampler: 'balanced', class_weights: 'balanced', positive: 'good' }))
    await expect(trained({ [name]: value }, { model, tokens: outputs.tokens! })).rejects.toMatchObject({
      message: expect.stringMatching(`^\`${name}\` does not apply to masked-lm`),
      option: [name],
    });
});

test('lora trains only its adapters and the head; the merged result is a model, with its adapters beside it', async () => {
  const { tokens, model } = await smallInputs();
  await expect(trained({ lora: { r: 4, alpha: 8, dropout: 0, merge: true } }, { tokens, model })).rejects.toMatchObject({
    message: expect.stringMatching(/^lora would not train .*, which are randomly initialized$/),
    option: ['lora'],
  });
  const start = await trained({}, { tokens, model });
  const inputs = { tokens, model: start.outputs.model! };
  const lora = { r: 4, alpha: 8, dropout: 0.1, merge: true };
  const merged = await trained({ lora, learning_rate: 0.02, epochs: 3 }, inputs);
  expect(merged.log).toContainEqual(expect.stringMatching(/^lora: \d+ of \d+ parameters are trained$/));
  for (const [name, values] of Object.entries(merged.weights)) {
    if (/query.weight|value.weight|pooler|classifier/.test(name)) expect(values, name).not.toEqual(start.weights[name]);
    else expect(values, name).toEqual(start.weights[name]);
  }
  const losses = merged.history.flatMap(({ train_loss }) => train_loss ?? []);
  expect(losses.at(-1)).toBeLessThan(losses[0]);
  expect(readdirSync(join(merged.outputs.model!, 'adapter')).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);

  const alone = await ranStep(step, { ...quick, lora: { ...lora, merge: false } }, inputs);
  expect(readdirSync(alone.outputs.model!)).toEqual(expect.arrayContaining(['adapter_config.json', 'adapter_model.safetensors']));
  expect(readdirSync(alone.outputs.model!)).not.toContain('model.safetensors');
  await expect(loadModel(alone.outputs.model!)).rejects.toThrow('contains a LoRA adapter, not a model');
});
