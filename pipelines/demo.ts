/**
 * `npm run demo`: from mails to a served spam classifier, through the real command line. Runs pipelines/spam.yaml,
 * serves the bundle on a free port, sends it one mail, and prints the prediction and the paths of all outputs.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';

/** The compiled demo is in dist/pipelines/. */
const root = resolve(import.meta.dirname, '../..');
const cli = join(root, 'dist/engine/cli.js');
const outputs = join(root, '.tunesmith/outputs/spam');
const bundle = join(outputs, 'deploy/bundle');

const MAIL =
  'Congratulations! You have been selected to receive a FREE $1000 prize. Click here now to claim your cash, this offer expires today!!!';

console.log('Trains a spam classifier on 6,046 real mails, twice (a sweep over the learning rate), and serves the better model.');
console.log(
  'On two cores this takes two to five minutes the first time. Later runs take a second, because unchanged steps do not run again.\n',
);
await run(['run', join(root, 'pipelines/spam.yaml')]);
const answer = await ask(MAIL);

console.log(`
The answer of the server to one mail:
  ${MAIL}
  → ${answer}

All outputs:
  the pipeline    ${shown(join(root, 'pipelines/spam.yaml'))}
  the bundle      ${shown(bundle)}   (model, tokenizer, ONNX, cleaning options, model card)
  its metrics     ${shown(join(outputs, 'test/metrics'))}
  the cache       ${shown(join(root, '.tunesmith'))}

Next steps:
  npx tunesmith run pipelines/spam.yaml                 all fresh: no step runs
  npx tunesmith run pipelines/spam.yaml -p seed=8       another split and initialization
  npx tunesmith serve ${shown(bundle)}    and open the page at the printed address`);

/** Runs a command on this terminal; if it fails, the demo fails. */
function run(args: string[]): Promise<void> {
  return new Promise((done) => {
    spawn(process.execPath, [cli, ...args], { stdio: 'inherit' }).on('close', (code) => {
      if (code === 0) return done();
      console.error('\nThe demo stopped there. Fix the error above and run it again: finished cells are kept.');
      process.exit(code ?? 1);
    });
  });
}

/** Starts the server, sends one request, stops the server. Resolves with the answer as JSON text. */
async function ask(text: string): Promise<string> {
  if (!existsSync(bundle)) throw new Error(`the pipeline made no bundle at ${bundle}`);
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

/** As one would type it in the current folder. */
function shown(path: string): string {
  return relative(process.cwd(), path) || '.';
}
