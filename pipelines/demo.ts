/**
 * `npm run demo`: from mails to a served spam classifier, through the real command line.
 * Runs pipelines/spam.yaml and shows what pre-training is worth. Then it serves the bundle on a free port, sends it one mail, and
 * prints the answer and the paths of all outputs. `--all` learns from all mails; other arguments are those of `tunesmith run`
 * (`npm run demo -- -p seed=8`).
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';

/** This file is compiled to dist/pipelines/. */
const root = resolve(import.meta.dirname, '../..');
const cli = join(root, 'dist/engine/cli.js');
const outputs = join(root, '.tunesmith/outputs/spam');
const bundle = join(outputs, 'deploy/bundle');

const MAIL =
  'Congratulations! You have been selected to receive a FREE $1000 prize. Click here now to claim your cash, this offer expires today!!!';

const all = process.argv.includes('--all');
const args = process.argv.slice(2).flatMap((argument) => (argument === '--all' ? ['-p', 'part=100'] : [argument]));

console.log(`Fine-tunes a small pre-trained BERT to find spam in real mails. To compare,
trains the same BERT from random weights. Then serves the better model.
On two cores this takes about ${all ? 'fifteen' : 'four'} minutes. A second demo takes about two
seconds, because no step runs again.
`);
await run(['run', join(root, 'pipelines/spam.yaml'), ...args]);
const answer = await ask(MAIL);

console.log(`
${comparison()}

The server's answer to one mail:
  ${MAIL}
  → ${answer}

Files:
  pipeline   ${shown(join(root, 'pipelines/spam.yaml'))}
  bundle     ${shown(bundle)}   (ready to serve)
  metrics    ${shown(join(outputs, 'test/metrics'))}
  cache      ${shown(join(root, '.tunesmith'))}

What to try next:
  npm run demo -- --all                              all mails, in fifteen minutes
  npx tunesmith run pipelines/spam.yaml              all is fresh: nothing runs
  npx tunesmith run pipelines/spam.yaml -p seed=8    another split of the mails
  npx tunesmith serve ${shown(bundle)}

To fine-tune BERT-base of the hub, replace one line of pipelines/spam.yaml:
  base: { model: hf://google-bert/bert-base-uncased, learning_rate: 5e-5 }`);

/** Runs a command in this terminal. If it fails, the demo ends. */
function run(args: string[]): Promise<void> {
  return new Promise((done) => {
    spawn(process.execPath, [cli, ...args], { stdio: 'inherit' }).on('close', (code) => {
      if (code === 0) return done();
      console.error('\nThe demo stopped. Fix the error above and run it again: finished cells do not run again.');
      process.exit(code ?? 1);
    });
  });
}

/** Starts the server, sends one request and stops the server. Returns the answer as JSON text. */
async function ask(text: string): Promise<string> {
  if (!existsSync(bundle)) throw new Error(`the pipeline left no bundle at ${bundle}`);
  const server = spawn(process.execPath, [cli, 'serve', bundle, '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const url = await new Promise<string>((ready, failed) => {
      createInterface(server.stdout).on('line', (line) => {
        const found = /http:\/\/\S+/.exec(line);
        if (found) ready(found[0]);
      });
      server.on('close', (code) => failed(new Error(`the server ended with exit code ${code} before it was ready`)));
    });
    const response = await fetch(`${url}/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: text }),
    });
    if (!response.ok) throw new Error(`the server answered ${response.status}: ${await response.text()}`);
    return JSON.stringify(await response.json());
  } finally {
    server.kill('SIGTERM');
  }
}

/** All three learned from the same mails and are compared on the validation split, because only the chosen model saw the test split. */
function comparison(): string {
  const { methods } = read('baseline/metrics');
  const random = read('evaluate[from_scratch=true]/metrics');
  const pretrained = read('evaluate[from_scratch=false]/metrics');
  const test = read('test/metrics');
  const learned = read('tokenize/tokens/tokens.json').splits.train.rows;
  const line = (...[name, accuracy, f1]: string[]) => `  ${name!.padEnd(24)}  ${accuracy!.padStart(8)}  ${f1!.padStart(10)}`;
  const results = (name: string, { accuracy, f1 }: Record<string, number>) => line(name, threeDigits(accuracy!), threeDigits(f1!));
  const { matrix } = read('best/choice');
  return `Learned from ${learned} mails, evaluated on the ${pretrained.rows} mails of the validation split:
${styleText('bold', line('', 'accuracy', 'F1 of spam'))}
${results('bag of words', methods.bag_of_words.metrics)}
${results('BERT from random weights', random.metrics)}
${results('pre-trained BERT', pretrained.metrics)}
The ${matrix.from_scratch ? 'BERT from random weights' : 'pre-trained BERT'} has the higher F1. On the ${test.rows} mails of the test split:
  accuracy ${threeDigits(test.metrics.accuracy)}, F1 of spam ${threeDigits(test.metrics.f1)}`;
}

/** An output of the pipeline that is JSON. */
function read(output: string) {
  return JSON.parse(readFileSync(join(outputs, output), 'utf8'));
}

function threeDigits(value: number): string {
  return value.toFixed(3);
}

/** The path relative to the working directory. */
function shown(path: string): string {
  return relative(process.cwd(), path) || '.';
}
