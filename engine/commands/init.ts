/** `tunesmith init [DIR]`: creates an example pipeline with data and a small model. It runs in seconds and without a network. */

import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { usage } from '../errors.ts';
import { packageFolder } from '../files/packages.ts';
import { pipelineSchema } from '../pipeline/schema.ts';
import { builtinNames } from '../registry.ts';
import { nearPath } from '../report/outcome.ts';

/* Writes the files that a command creates. Never overwrites a file. */

/** Writes either all files or none, also if the disk is full. Returns their paths for display. */
export function writeNew(folder: string, files: Record<string, string>): string[] {
  const paths = Object.keys(files).map((name) => join(folder, name));
  const there = paths.filter((path) => existsSync(path));
  if (there.length > 0)
    throw usage(
      `${there.map(nearPath).join(', ')} already ${there.length === 1 ? 'exists' : 'exist'}`,
      'Nothing was written. Move the existing files away, or choose another name.',
    );
  const made: string[] = [];
  try {
    for (const [n, content] of Object.values(files).entries()) {
      const path = paths[n]!;
      const topmost = mkdirSync(dirname(path), { recursive: true });
      if (topmost !== undefined) made.push(topmost);
      const file = openSync(path, 'wx');
      made.push(path);
      try {
        writeFileSync(file, content);
      } finally {
        closeSync(file);
      }
    }
  } catch (error) {
    for (const path of made) rmSync(path, { recursive: true, force: true });
    throw error;
  }
  return paths.map(nearPath);
}

export async function init(folder = '.'): Promise<void> {
  const schema = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  const files = { 'starter.yaml': PIPELINE, 'reviews.csv': reviews(), ...model(), 'pipeline.schema.json': schema };
  const written = writeNew(folder, files).filter((path) => !path.includes(MODEL));
  process.stdout.write(`wrote ${[...written, nearPath(join(folder, MODEL))].join(', ')}\n\n`);
  if (nearPath(folder) !== '.') process.stdout.write(`  cd ${nearPath(folder)}\n`);
  process.stdout.write('  tunesmith run starter.yaml                     takes about 15 seconds; a second run has nothing to do\n');
  process.stdout.write('  tunesmith show starter.yaml test.metrics       shows the metrics of the best model on the test split\n');
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

/* `tunesmith new-step NAME`: creates a step, a small pipeline that uses it, and the settings that an editor needs to check it. */

export function newStep(name: string): void {
  if (!/^[a-z][a-z0-9-]*$/.test(name))
    throw usage(`"${name}" is not a valid name for a step`, 'Use lower-case letters, digits and dashes, for example drop-short-lines.');
  if (builtinNames().includes(name)) throw usage(`"${name}" is a built-in step`, 'Choose another name.');
  const files: Record<string, string> = { [`${name}.ts`]: step(name), [`${name}.yaml`]: pipeline(name) };
  if (!hasTypescriptSettings(resolve('.'))) files['tsconfig.json'] = tsconfig();
  const written = writeNew('.', files);
  process.stdout.write(`wrote ${written.join(', ')}\n\n  tunesmith run ${name}.yaml\n`);
  if (files['tsconfig.json'] !== undefined && !isInstalledHere())
    process.stdout.write(
      '\ntsconfig.json points editors to this installation of tunesmith. `npm install --save-dev tunesmith` makes that entry unnecessary.\n',
    );
}

/** An existing file of the user takes precedence and is not changed. */
function hasTypescriptSettings(folder: string): boolean {
  return existsSync(join(folder, 'tsconfig.json')) || (dirname(folder) !== folder && hasTypescriptSettings(dirname(folder)));
}

function isInstalledHere(): boolean {
  return packageFolder('tunesmith', resolve('.')) !== undefined;
}

/** Settings for type checks in editors. A run needs none and resolves imports as a bundler does. */
function tsconfig(): string {
  const types = fileURLToPath(new URL('../index.d.ts', import.meta.url));
  const compilerOptions = {
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    ...(isInstalledHere() ? {} : { paths: { tunesmith: [types] } }),
  };
  return `${JSON.stringify({ compilerOptions }, null, 2)}\n`;
}

function step(name: string): string {
  return `import { readFile, writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';

export default defineStep({
  name: '${name}',
  version: 1,
  description: 'Keeps lines with a minimum length.',
  inputs: { text: { kind: 'file', description: 'Lines of text.' } },
  outputs: { text: { kind: 'file', description: 'The lines that were kept.' } },
  // JSON Schema. It checks the options before a run, completes them in editors and types \`options\` below.
  options: {
    min_length: { type: 'integer', minimum: 0, default: 10, description: 'Lines with fewer characters are dropped.' },
  },
  async run({ options, inputs, outputs, log, metric }) {
    const lines = (await readFile(inputs.text, 'utf8')).split('\\n').filter((line) => line !== '');
    const kept = lines.filter((line) => line.length >= options.min_length);
    // tunesmith prints a StepError without a stack trace. Its arguments: what is wrong, and what to do.
    if (kept.length === 0) throw new StepError('no line is long enough', 'Lower \`min_length\`.');
    log(\`kept \${kept.length} of \${lines.length} lines\`);
    metric('kept', kept.length);
    await writeFile(outputs.text, \`\${kept.join('\\n')}\\n\`);
  },
});
`;
}

function pipeline(name: string): string {
  return `name: ${name}

steps:
  lines:
    run: printf '%s\\n' 'a short one' 'and one that is quite a bit longer' > \${{ outputs.text }}
    outputs: { text: out/lines.txt }

  kept:
    uses: ./${name}.ts
    with:
      text: \${{ steps.lines.text }}
      min_length: 20
`;
}
