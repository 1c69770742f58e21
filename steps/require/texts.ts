/** The texts that a model generates for raw rows, scored with a metric of generated texts. */

import { StepError } from '../../engine/contract/step.ts';
import { openRuntime } from '../ml/device/open.ts';
import { generatorOf } from '../ml/generation/generator.ts';
import { generatedMetrics } from '../ml/metrics/generated.ts';
import { loadModel } from '../ml/models/model-folder.ts';
import { openTokenizer } from '../ml/models/tokenizer.ts';
import type { Compared, ComparedFigures, ModelOfRows } from './compared.ts';

const BATCH = 32;

/** Each model generates as `generate` does, with its own `generation_config.json`. */
export async function textsOf({ bundle, name, preprocessing }: ModelOfRows, compared: Compared): Promise<ComparedFigures> {
  const { rows, metric, sameTokenizer, context } = compared;
  const { threads, signal, progress } = context;
  const runtime = await openRuntime('auto', { threads });
  const model = await loadModel(bundle.folder, bundle.task);
  const generator = await generatorOf(model, { own: bundle.folder, tokenizer: bundle.folder }, runtime, { preprocessing });
  const targets = await referencesOf(rows.truth as string[], sameTokenizer ? bundle.folder : undefined);
  const measured = generatedMetrics([metric]);
  try {
    let row = 0;
    for await (const inputs of rows.inputs(bundle, name)) {
      const prompts = await Promise.all(
        inputs.map(({ text }, i) =>
          generator.encode(text!, {}).catch((error: Error) => {
            if (!(error instanceof StepError)) throw error;
            throw new StepError(`row ${rows.ids[row + i]}, ${name}: ${error.message}`, error.hint);
          }),
        ),
      );
      const order = [...prompts.keys()].sort((a, b) => prompts[b]!.length - prompts[a]!.length);
      const texts = new Array<string>(prompts.length);
      for (let i = 0; i < order.length; i += BATCH) {
        const places = order.slice(i, i + BATCH);
        const generated = await generator.generate(
          places.map((place) => prompts[place]!),
          { num_return_sequences: 1 },
          { signal },
        );
        for (const [k, place] of places.entries()) texts[place] = generated[k]!.text;
        progress(row + i + places.length, rows.ids.length, { model: name });
      }
      for (const predicted of texts) measured.add({ references: [targets[row++]!], predicted });
    }
  } finally {
    await generator.close();
  }
  return { metrics: measured.metrics };
}

/** As in evaluate, the targets as the tokenizer can represent them. Models with different tokenizers have no such text in common. */
async function referencesOf(targets: string[], folder: string | undefined): Promise<string[]> {
  if (folder === undefined) return targets;
  const tokenizer = await openTokenizer(folder, {});
  const encoded = await tokenizer.encode(targets);
  return Promise.all(encoded.map(({ ids }) => tokenizer.decode(ids)));
}
