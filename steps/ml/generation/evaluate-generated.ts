/** Generates a text for each example of a split, from exactly the tokens that the model would be given, and evaluates the texts. */

import type { Json } from '../../../engine/contract/step.ts';
import { generatedMetrics } from '../metrics/generated.ts';
import { evaluationBatches } from '../models/batches.ts';
import type { Model } from '../models/model-folder.ts';
import type { Split, TokensInfo } from '../models/token-dataset.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type Folders, generatorOf } from './generator.ts';
import type { GenerationOptions } from './options.ts';

export interface GeneratedEvaluation {
  model: Model;
  folders: Folders;
  /** Names of the metrics. */
  metrics: readonly string[];
  overrides: GenerationOptions;
  batchSize: number;
  signal: AbortSignal;
  progress?(rows: number): void;
}

export interface GeneratedTexts {
  /** In the order of the examples. `writable`: the target as the tokenizer can represent it, if that differs. */
  texts: { prediction: string; writable: string | null; correct: boolean }[];
  /** Of some examples, as in a measurement. */
  metrics(rows?: Int32Array): Record<string, number>;
  /** Those that are also defined for a single text. */
  metricsOfText: readonly string[];
  /** How each metric was computed, and how the texts were generated. */
  report: Record<string, Json>;
}

export async function writtenTexts(
  runtime: Runtime,
  split: Split,
  info: TokensInfo,
  writing: GeneratedEvaluation,
): Promise<GeneratedTexts> {
  const { model, folders, metrics, overrides, batchSize, signal, progress } = writing;
  const options = { ...overrides, num_return_sequences: 1 };
  const predicted = new Array<string>(split.sequences);
  // The length limit is that of the targets in the model's training, as in `generate`; for other models, that of the
  // targets in these tokens.
  const generator = await generatorOf(model, folders, runtime, { usualLength: info.max_target_length });
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
      progress?.(rows);
    }
  } finally {
    await generator.close();
  }
  const measured = generatedMetrics(metrics);
  const texts: GeneratedTexts['texts'] = [];
  for await (const example of split.examples()) {
    const { target, writable = target } = example as unknown as { target: string; writable?: string };
    const prediction = predicted[texts.length]!;
    measured.add({ references: [writable], predicted: prediction });
    texts.push({ prediction, writable: writable === target ? null : writable, correct: prediction === writable });
  }
  const { num_beams, do_sample, max_new_tokens, max_length } = generator.config(options);
  const generation = { num_beams, do_sample, ...(max_new_tokens === undefined ? { max_length: max_length ?? null } : { max_new_tokens }) };
  return {
    texts,
    metrics: measured.metrics,
    metricsOfText: measured.ofTexts,
    report: { generation, details: measured.details() },
  };
}
