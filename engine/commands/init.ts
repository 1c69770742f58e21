/** `tunesmith init [DIR]`: a pipeline to start from, with data of its own, that runs in seconds and without a network. */

import { pipelineSchema } from '../pipeline/schema.ts';
import { nearPath } from '../report/failure.ts';
import { print } from '../report/print.ts';
import { writeNew } from './new-files.ts';

export default async function init(folder = '.'): Promise<void> {
  const schema = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  const written = writeNew(folder, { 'starter.yaml': PIPELINE, 'reviews.csv': reviews(), 'pipeline.schema.json': schema });
  print(`wrote ${written.join(', ')}\n\n`);
  if (nearPath(folder) !== '.') print(`  cd ${nearPath(folder)}\n`);
  print('  tunesmith run starter.yaml      a few seconds; again, and nothing runs\n');
  print('  tunesmith show starter.yaml clean.data\n');
}

const PIPELINE = `# yaml-language-server: $schema=./pipeline.schema.json
#
#   tunesmith run starter.yaml       runs what is not there yet; a second run does nothing
#   tunesmith status starter.yaml    says what a change would rerun, and why
#
# Change a line of reviews.csv, add a seed, or say -p lowercase=false, and run it again.
name: starter

params:
  lowercase: true

steps:
  collect: # files → a table
    uses: collect
    with: { files: reviews.csv }

  clean:
    uses: clean
    with:
      data: \${{ steps.collect.data }}
      lowercase: \${{ params.lowercase }}
      deduplicate: text

  split: # which rows are for training and for testing: once for each seed
    uses: split
    matrix:
      seed: [1, 2, 3]
    with:
      data: \${{ steps.clean.data }}
      ratios: [0.7, 0.3]
      stratify: label
      seed: \${{ matrix.seed }}

  baseline: # reads split, so it runs once for each seed, too
    uses: baseline
    with:
      data: \${{ steps.split.data }}
      methods: [bag_of_words]
      metrics: [accuracy, macro_f1]

  report: # any command is a step; [*] gathers all cells of a matrix
    run: grep -h accuracy \${{ steps.baseline[*].metrics }} > \${{ outputs.report }}
    outputs: { report: out/accuracies.txt }
`;

/** Four dozen reviews, made of a few words: enough to see every step at work. */
function reviews(): string {
  const things = ['camera', 'kettle', 'keyboard', 'lamp', 'backpack', 'headset'];
  const praise = ['I love this %.', 'The % works, great value!', 'Not a bad % at all.', 'It came late, but what a %!'];
  const blame = ['I regret this %.', 'The % works, but not for long.', 'Not a good % at all.', 'It came early, but what a bad %!'];
  const rows = things.flatMap((thing) => [
    ...praise.map((text) => `"${text.replace('%', thing)}",good`),
    ...blame.map((text) => `"${text.replace('%', thing)}",bad`),
  ]);
  return `${['text,label', ...rows].join('\n')}\n`;
}
