/** `tunesmith init [DIR]`: creates an example pipeline with data and a small model. It runs in seconds and without a network. */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pipelineSchema } from '../pipeline/schema.ts';
import { nearPath } from '../report/failure.ts';
import { writeNew } from './new-files.ts';

export default async function init(folder = '.'): Promise<void> {
  const schema = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  const files = { 'starter.yaml': PIPELINE, 'reviews.csv': reviews(), ...model(), 'pipeline.schema.json': schema };
  const written = writeNew(folder, files).filter((path) => !path.includes(MODEL));
  process.stdout.write(`wrote ${[...written, nearPath(join(folder, MODEL))].join(', ')}\n\n`);
  if (nearPath(folder) !== '.') process.stdout.write(`  cd ${nearPath(folder)}\n`);
  process.stdout.write('  tunesmith run starter.yaml                     takes about 15 seconds; a second run has nothing to do\n');
  process.stdout.write('  tunesmith show starter.yaml test metrics       shows the metrics of the best model on the test split\n');
  process.stdout.write('  tunesmith serve .tunesmith/outputs/starter/deploy/bundle\n');
}

const MODEL = 'models/bert-tiny';

/** A BERT without weights, which is part of the package. `train` initialises it at random. */
function model(): Record<string, string> {
  const at = join(dirname(createRequire(import.meta.url).resolve('tunesmith/package.json')), 'pipelines', MODEL);
  const names = readdirSync(at).filter((name) => name.endsWith('.json'));
  return Object.fromEntries(names.map((name) => [`${MODEL}/${name}`, readFileSync(join(at, name), 'utf8')]));
}

const PIPELINE = `# yaml-language-server: $schema=./pipeline.schema.json
#
#   tunesmith run starter.yaml       runs the pipeline; a second run has nothing to do
#   tunesmith status starter.yaml    shows what a change would run again, and why
#
# Change a line of reviews.csv or a learning rate, or pass -p seed=8, and run it again.
name: starter

params:
  base: ./models/bert-tiny # a small model without weights; for better results, use a pretrained one: hf://google-bert/bert-base-uncased
  seed: 7

steps:
  collect: # files → a table
    uses: collect
    with: { files: reviews.csv }

  clean:
    uses: clean
    with: { data: "\${{ steps.collect.data }}", lowercase: true, deduplicate: text }

  split: # train on one part, choose the model on the second, report the metrics of the third
    uses: split
    with: { data: "\${{ steps.clean.data }}", ratios: [0.6, 0.2, 0.2], stratify: label, seed: "\${{ params.seed }}" }

  tokenize:
    uses: tokenize
    with: { data: "\${{ steps.split.data }}", model: "\${{ params.base }}", max_length: 32 }

  train: # one cell for each learning rate
    uses: train
    matrix: { learning_rate: [3e-4, 1e-3] }
    with:
      tokens: \${{ steps.tokenize.tokens }}
      model: \${{ params.base }}
      task: text-classification
      learning_rate: \${{ matrix.learning_rate }}
      epochs: 12
      batch_size: 16
      seed: \${{ params.seed }}

  validate: # has one cell for each learning rate too, because it reads the output of train
    uses: evaluate
    with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}", split: validation, metrics: [accuracy, macro_f1] }

  best: # [*] collects the outputs of all cells of a matrix
    uses: select
    with: { from: "\${{ steps.validate[*].metrics }}", maximize: macro_f1, pick: "\${{ steps.train[*].model }}" }

  test: # the metrics to report
    uses: evaluate
    with: { model: "\${{ steps.best.pick }}", tokens: "\${{ steps.tokenize.tokens }}", split: test, metrics: [accuracy, macro_f1] }

  baseline: # a simple model to compare with
    uses: baseline
    with: { data: "\${{ steps.split.data }}", metrics: [accuracy, macro_f1] }

  deploy: # a folder to serve and predict from
    uses: deploy
    with: { model: "\${{ steps.best.pick }}", metrics: "\${{ steps.test.metrics }}", name: starter }
`;

/** 240 reviews made of a few words. In a quarter of them `not` reverses the meaning, which a bag of words cannot detect. */
function reviews(): string {
  const things = ['camera', 'kettle', 'keyboard', 'lamp', 'backpack', 'headset'];
  const words = { good: ['great', 'excellent', 'perfect', 'lovely', 'useful'], bad: ['awful', 'terrible', 'useless', 'poor', 'broken'] };
  const frames = ['The % is @.', 'What @ % this is!', 'I bought this % and it is @.', 'The % is not @.'];
  const rows = things.flatMap((thing) =>
    frames.flatMap((frame) =>
      Object.entries(words).flatMap(([label, all]) => {
        const told = frame.includes('not') ? (label === 'good' ? 'bad' : 'good') : label;
        return all.map((word) => `${frame.replace('%', thing).replace('@', word)},${told}`);
      }),
    ),
  );
  return `${['text,label', ...rows].join('\n')}\n`;
}
