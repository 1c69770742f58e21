/** `tunesmith init [DIR]`: a pipeline to start from, with data and a small model of its own, that runs in seconds and without a network. */
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
  process.stdout.write('  tunesmith run starter.yaml                     a quarter of a minute; again, and nothing runs\n');
  process.stdout.write('  tunesmith show starter.yaml test metrics       what the chosen model reaches on the test split\n');
  process.stdout.write('  tunesmith serve .tunesmith/outputs/starter/deploy/bundle\n');
}

const MODEL = 'models/bert-tiny';

/** A BERT without weights, which comes along with the package: train starts it at random. */
function model(): Record<string, string> {
  const at = join(dirname(createRequire(import.meta.url).resolve('tunesmith/package.json')), 'pipelines', MODEL);
  const names = readdirSync(at).filter((name) => name.endsWith('.json'));
  return Object.fromEntries(names.map((name) => [`${MODEL}/${name}`, readFileSync(join(at, name), 'utf8')]));
}

const PIPELINE = `# yaml-language-server: $schema=./pipeline.schema.json
#
#   tunesmith run starter.yaml       runs what is not there yet; a second run does nothing
#   tunesmith status starter.yaml    says what a change would rerun, and why
#
# Change a line of reviews.csv, a learning rate, or say -p seed=8, and run it again.
name: starter

params:
  base: ./models/bert-tiny # a small model without weights; for more, name one with weights: hf://google-bert/bert-base-uncased
  seed: 7

steps:
  collect: # files → a table
    uses: collect
    with: { files: reviews.csv }

  clean:
    uses: clean
    with: { data: "\${{ steps.collect.data }}", lowercase: true, deduplicate: text }

  split: # train learns, validation chooses, test is for the last look
    uses: split
    with: { data: "\${{ steps.clean.data }}", ratios: [0.6, 0.2, 0.2], stratify: label, seed: "\${{ params.seed }}" }

  tokenize:
    uses: tokenize
    with: { data: "\${{ steps.split.data }}", model: "\${{ params.base }}", max_length: 32 }

  train: # once for each learning rate
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

  validate: # reads train, so it runs once for each learning rate, too
    uses: evaluate
    with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}", split: validation, metrics: [accuracy, macro_f1] }

  best: # [*] gathers all cells of a matrix
    uses: select
    with: { from: "\${{ steps.validate[*].metrics }}", maximize: macro_f1, pick: "\${{ steps.train[*].model }}" }

  test: # the figure to report
    uses: evaluate
    with: { model: "\${{ steps.best.pick }}", tokens: "\${{ steps.tokenize.tokens }}", split: test, metrics: [accuracy, macro_f1] }

  baseline: # what the model has to beat
    uses: baseline
    with: { data: "\${{ steps.split.data }}", metrics: [accuracy, macro_f1] }

  deploy: # a folder to serve and to predict from
    uses: deploy
    with: { model: "\${{ steps.best.pick }}", metrics: "\${{ steps.test.metrics }}", name: starter }
`;

/** 240 reviews, made of a few words. In a quarter of them `not` turns the meaning round, which a bag of words does not see. */
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
