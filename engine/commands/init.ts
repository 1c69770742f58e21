/** `tunesmith init [DIR]`: a pipeline to start from, with data of its own, that runs in seconds and without a network. */
import { pipelineSchema } from '../pipeline/schema.ts';
import { nearPath } from '../report/failure.ts';
import { writeNew } from './new-files.ts';

export default async function init(folder = '.'): Promise<void> {
  const schema = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  const written = writeNew(folder, { 'starter.yaml': PIPELINE, 'reviews.csv': reviews(), 'pipeline.schema.json': schema });
  process.stdout.write(`wrote ${written.join(', ')}\n\n`);
  if (nearPath(folder) !== '.') process.stdout.write(`  cd ${nearPath(folder)}\n`);
  process.stdout.write('  tunesmith run starter.yaml      a few seconds; again, and nothing runs\n');
  process.stdout.write('  tunesmith show starter.yaml split.data\n');
}

const PIPELINE = `# yaml-language-server: $schema=./pipeline.schema.json
#
#   tunesmith run starter.yaml       runs what is not there yet; a second run does nothing
#   tunesmith status starter.yaml    says what a change would rerun, and why
#
# Change \`lowercase\` below, or a line of reviews.csv, and run it again.
name: starter

params:
  seed: 7

steps:
  collect: # files → a table
    uses: collect
    with: { files: reviews.csv }

  clean:
    uses: clean
    with:
      data: \${{ steps.collect.data }}
      lowercase: true
      deduplicate: text

  split: # which rows are for training, validation and test
    uses: split
    with:
      data: \${{ steps.clean.data }}
      ratios: [0.6, 0.2, 0.2]
      stratify: label
      seed: \${{ params.seed }}

  baseline: # once for each value of the matrix
    uses: baseline
    matrix:
      method: [majority, bag_of_words]
    with:
      data: \${{ steps.split.data }}
      methods: ["\${{ matrix.method }}"]
      metrics: [accuracy, macro_f1]

  report: # any command is a step; [*] gathers all cells of a matrix
    run: cat \${{ steps.baseline[*].metrics }} > \${{ outputs.report }}
    outputs: { report: out/baselines.jsonl }
`;

/** Four dozen reviews, made of a few words: enough to see every step at work. */
function reviews(): string {
  const things = ['camera', 'kettle', 'keyboard', 'lamp', 'backpack', 'headset'];
  const praise = ['I love this %.', 'The % works perfectly, great value!', 'Excellent %, arrived early.', 'Best % I ever had, very happy.'];
  const blame = [
    'I regret buying this %.',
    'The % broke after a week, awful.',
    'Terrible %, arrived damaged.',
    'Worst % I ever had, very disappointed.',
  ];
  const rows = things.flatMap((thing) => [
    ...praise.map((text) => `"${text.replace('%', thing)}",good`),
    ...blame.map((text) => `"${text.replace('%', thing)}",bad`),
  ]);
  return `${['text,label', ...rows].join('\n')}\n`;
}
