/**
 * `npm run demo`: from mails to a served spam classifier, through the real command line.
 * Runs pipelines/spam.yaml with its own arguments (`npm run demo -- -p seed=8`), serves the bundle on a free port, sends it one
 * mail, and prints the answer and the paths of all outputs.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';

/** This file is compiled to dist/pipelines/. */
const root = resolve(import.meta.dirname, '../..');
const cli = join(root, 'dist/engine/cli.js');
const outputs = join(root, '.tunesmith/outputs/spam');
const bundle = join(outputs, 'deploy/bundle');

const MAIL =
  'Congratulations! You have been selected to receive a FREE $1000 prize. Click here now to claim your cash, this offer expires today!!!';

console.log('Trains a spam classifier on 6,046 real mails with each of two learning rates, and serves the better model.');
console.log('On two cores this takes two to five minutes. A second demo takes about two seconds, because no step runs again.\n');
await run(['run', join(root, 'pipelines/spam.yaml'), ...process.argv.slice(2)]);
const answer = await ask(MAIL);

console.log(`
The server's answer to one mail:
  ${MAIL}
  → ${answer}

Files:
  pipeline   ${shown(join(root, 'pipelines/spam.yaml'))}
  bundle     ${shown(bundle)}   (model, tokenizer, ONNX, cleaning options, model card)
  metrics    ${shown(join(outputs, 'test/metrics'))}
  cache      ${shown(join(root, '.tunesmith'))}

What to try next:
  npx tunesmith run pipelines/spam.yaml                 everything is fresh, so nothing runs
  npx tunesmith run pipelines/spam.yaml -p seed=8       another split and other initial weights
  npx tunesmith serve ${shown(bundle)}    then open the page that it prints`);

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

/** The path relative to the working directory. */
function shown(path: string): string {
  return relative(process.cwd(), path) || '.';
}
