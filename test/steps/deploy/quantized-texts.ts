/** A bundle in int8 and in fp16 of a generating model, and what it generates. */
import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import deploy from '../../../steps/deploy/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { openGenerator } from '../../../steps/ml/generation/generator.ts';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { smallGpt2, smallT5 } from '../writers.ts';

const json = (...parts: string[]) => JSON.parse(readFileSync(join(...parts), 'utf8'));

export async function quantizedTexts(task: 'causal-lm' | 'seq2seq'): Promise<void> {
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
}
