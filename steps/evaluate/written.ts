/** Lets a model write a text for each example of a split, from the very tokens that it would be given, and measures what it wrote. */
import type { Json } from '../../engine/step.ts';
import { openGenerator } from '../generation/generator.ts';
import { type GenerationOptions, generationConfig, readGeneration } from '../generation/options.ts';
import { generatedMetrics } from '../metrics/generated.ts';
import { evaluationBatches } from '../models/batches.ts';
import type { Model } from '../models/checkpoint.ts';
import type { Split, TokensInfo } from '../models/tokens.ts';
import type { Runtime } from '../runtime/runtime.ts';

export interface Writing {
  model: Model;
  /** Where the model lies: its folder may say how it writes. */
  folder: string;
  /** Names of the metrics. */
  metrics: readonly string[];
  asked: GenerationOptions;
  batchSize: number;
  signal: AbortSignal;
  progress(rows: number): void;
}

export interface Written {
  /** In the order of the examples. */
  texts: { target: string; predicted: string }[];
  metrics: Record<string, number>;
  /** How each metric was computed, and how the texts were written. */
  report: Record<string, Json>;
}

export async function writtenTexts(runtime: Runtime, split: Split, info: TokensInfo, writing: Writing): Promise<Written> {
  const { model, folder, metrics, asked, batchSize, signal, progress } = writing;
  const { options: own } = await readGeneration(folder, model);
  // A text is as long as a target may be, where nothing else is said.
  const bounded = [own, asked].some((options) => options.max_new_tokens !== undefined || options.max_length !== undefined);
  const options = { ...(bounded ? {} : { max_new_tokens: info.max_target_length! }), ...asked, num_return_sequences: 1 };
  const predicted = new Array<string>(split.sequences);
  const generator = await openGenerator(folder, runtime);
  try {
    let rows = 0;
    for (const { sequences } of evaluationBatches(split, batchSize).flat()) {
      const prompts = Array.from(sequences, (sequence) => {
        const ids = new Int32Array(split.length(sequence));
        split.read('input_ids', sequence, ids, 0);
        return [...ids];
      });
      for (const [i, { text }] of (await generator.generate(prompts, options, { signal })).entries()) predicted[sequences[i]!] = text;
      rows += sequences.length;
      progress(rows);
    }
  } finally {
    await generator.close();
  }
  const measured = generatedMetrics(metrics);
  const texts: Written['texts'] = [];
  for await (const example of split.examples()) {
    const text = { target: example.target as string, predicted: predicted[texts.length]! };
    measured.add({ references: [text.target], predicted: text.predicted });
    texts.push(text);
  }
  const { num_beams, do_sample, max_new_tokens, max_length } = generationConfig(own, options, model.config.vocab_size);
  const generation = { num_beams, do_sample, ...(max_new_tokens === undefined ? { max_length: max_length ?? null } : { max_new_tokens }) };
  return { texts, metrics: measured.metrics(), report: { generation, details: measured.details() } };
}
