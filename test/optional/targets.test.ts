/**
 * The targets of `deploy`: each image is built as its Dockerfile says, without Docker, in an empty folder and by an unprivileged user.
 * Then the test plays the platform against the command of the image. Needs the npm registry.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startServer } from '../../steps/serving/serve.ts';
import { buildImage, type Image } from '../image.ts';
import { makeBundle, makeModel, remove } from '../steps/serving/bundle.ts';
import { rows, smallModel } from '../steps/small.ts';
import { deployFor, freePort, post, ready } from '../targets.ts';

const TEXTS = ['Buy <b>now</b> at http://example.org', 'See you at 7.', '', 'Straße, ÇA VA? 🙂 '.repeat(40)];

let model: string;
/** What our own server answers. */
let expected: unknown[];

beforeAll(async () => {
  model = await makeModel();
  const bundle = await makeBundle(model);
  const server = await startServer(bundle, { port: 0, say: () => {} });
  expected = (await post(`${server.url}/predict`, { inputs: TEXTS })).json().predictions;
  await server.close();
  remove(bundle);
});
afterAll(() => remove(model));

describe('http', () => {
  let image: Image;
  let port: number;
  beforeAll(async () => {
    const folder = await deployFor('http', model);
    port = await freePort();
    image = buildImage(folder, (words) => words.map((word) => word.replaceAll('8080', String(port))));
    remove(folder);
  });
  afterAll(() => image?.remove());

  test('answers as serve does, is healthy, and answers a running request after SIGTERM', async () => {
    const running = image.start();
    onTestFinished(() => void running.child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${port}`;
    expect(image.isHealthy()).toBe(false);
    await ready(`${url}/health`, running);
    expect(image.isHealthy()).toBe(true);
    expect((await post(`${url}/predict`, { inputs: TEXTS })).json()).toEqual({ predictions: expected });
    const many = post(`${url}/predict`, { inputs: Array(200).fill(TEXTS[0]) });
    await new Promise((resolve) => setTimeout(resolve, 30));
    running.child.kill('SIGTERM');
    expect((await many).json().predictions).toHaveLength(200);
    expect(await running.ended).toBe(0);
  });

  test('runs with a read-only root file system', async () => {
    const written = image.makeReadOnly();
    const running = image.start();
    onTestFinished(() => void running.child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${port}`;
    await ready(`${url}/health`, running);
    expect((await post(`${url}/predict`, { inputs: TEXTS })).json()).toEqual({ predictions: expected });
    // Node keeps compiled code there.
    expect(readdirSync(written).filter((name) => name !== 'node-compile-cache')).toEqual([]);
    running.child.kill('SIGTERM');
    expect(await running.ended).toBe(0);
  });

  test('has only what serving needs', () => {
    const modules = join(image.workdir, 'node_modules');
    for (const name of ['@duckdb', 'esbuild', 'tsx', '@tensorflow', 'npm']) expect(existsSync(join(modules, name)), name).toBe(false);
    expect(existsSync(join(image.workdir, 'package-lock.json'))).toBe(false);
  });
});

describe('sagemaker', () => {
  let image: Image;
  beforeAll(async () => {
    const folder = await deployFor('sagemaker', model);
    image = buildImage(folder);
    remove(folder);
  });
  afterAll(() => image?.remove());

  test('serve answers with the model that the platform has put into /opt/ml/model, and ends soon after SIGTERM', async () => {
    const port = String(await freePort());
    const ml = machineLearningFolder({});
    cpSync(join(image.workdir, 'bundle'), join(ml, 'model'), { recursive: true });
    const config = join(ml, 'model/training.json');
    writeFileSync(config, readFileSync(config, 'utf8').replace('Tiny mails', 'from S3'));
    const running = image.start({ env: { TUNESMITH_SAGEMAKER_FOLDER: ml, SAGEMAKER_BIND_TO_PORT: port } });
    onTestFinished(() => void running.child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${port}`;
    await ready(`${url}/ping`, running);
    expect(running.output()).toContain('Serving from S3');
    expect((await post(`${url}/invocations`, { instances: TEXTS })).json()).toEqual({ predictions: expected });
    const lines = await post(`${url}/invocations`, TEXTS.map((text) => JSON.stringify(text)).join('\n'), { type: 'application/jsonlines' });
    expect(
      lines.text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(expected);
    const start = Date.now();
    running.child.kill('SIGTERM');
    expect(await running.ended).toBe(0);
    expect(Date.now() - start).toBeLessThan(25_000);
  });

  test('train runs the pipeline of a channel, with the other channels and the hyperparameters as parameters', async () => {
    const mails = rows({ train: 60, validation: 10, test: 10 }).map(({ text, label }) => `${text},${label}`);
    const ml = machineLearningFolder({
      'input/config/hyperparameters.json': JSON.stringify({ epochs: '1', name: '"a name"', sagemaker_job_name: '"x"' }),
      'input/data/pipeline/mails.yaml': TRAINING,
      'input/data/mails/mails.csv': `text,label\n${mails.join('\n')}\n`,
    });
    cpSync(smallModel(), join(ml, 'input/data/base'), { recursive: true });
    giveToNobody(ml);
    const running = image.start({ words: ['train'], env: { TUNESMITH_SAGEMAKER_FOLDER: ml } });
    expect(await running.ended, running.output()).toBe(0);
    expect(existsSync(join(ml, 'output/failure'))).toBe(false);
    const { name, epochs } = JSON.parse(readFileSync(join(ml, 'model/training.json'), 'utf8'));
    expect({ name, epochs }).toEqual({ name: 'a name', epochs: 1 });
    expect(existsSync(join(ml, 'model/onnx/model.onnx'))).toBe(true);
    expect(existsSync(join(ml, 'checkpoints/cache'))).toBe(true);
  });

  test('train continues on another instance after an interruption, from the checkpoint of the step', async () => {
    const mails = rows({ train: 400, validation: 10, test: 10 }).map(({ text, label }) => `${text},${label}`);
    const ml = machineLearningFolder({
      'input/config/hyperparameters.json': JSON.stringify({ epochs: '200', save_steps: '20' }),
      'input/data/pipeline/mails.yaml': TRAINING,
      'input/data/mails/mails.csv': `text,label\n${mails.join('\n')}\n`,
    });
    cpSync(smallModel(), join(ml, 'input/data/base'), { recursive: true });
    giveToNobody(ml);
    const env = { TUNESMITH_SAGEMAKER_FOLDER: ml };
    const steps = join(ml, 'checkpoints/steps');
    const written = () => existsSync(steps) && readdirSync(steps, { recursive: true }).length > 1;

    const first = image.start({ words: ['train'], env });
    onTestFinished(() => void first.child.kill('SIGKILL'));
    let ended = false;
    first.ended.then(() => {
      ended = true;
    });
    while (!written() && !ended) await new Promise((resolve) => setTimeout(resolve, 50));
    const start = Date.now();
    first.child.kill('SIGTERM');
    expect(await first.ended, first.output()).not.toBe(0);
    expect(Date.now() - start).toBeLessThan(30_000);
    expect(readFileSync(join(ml, 'output/failure'), 'utf8')).not.toBe('');

    // Only this folder is on the next instance; the others come from S3 again.
    for (const name of ['model', 'output']) rmSync(join(ml, name), { recursive: true, force: true });
    const second = image.start({ words: ['train'], env });
    onTestFinished(() => void second.child.kill('SIGKILL'));
    const resumed = /resumes at step (\d+)/;
    while (!resumed.test(second.output()) && second.child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(Number(resumed.exec(second.output())?.[1]), second.output()).toBeGreaterThanOrEqual(20);
    second.child.kill('SIGTERM');
    await second.ended;
  });

  test('train says before the training that it cannot write the model', async () => {
    const ml = machineLearningFolder({ 'input/data/pipeline/mails.yaml': TRAINING, 'model/keep': '' });
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', '0:0', join(ml, 'model')]);
    else chmodSync(join(ml, 'model'), 0o555);
    const running = image.start({ words: ['train'], env: { TUNESMITH_SAGEMAKER_FOLDER: ml } });
    expect(await running.ended).toBe(2);
    expect(readFileSync(join(ml, 'output/failure'), 'utf8')).toMatch(/model cannot be written.*\n.*USER 0/);
    expect(running.output()).not.toContain('    at ');
  });

  test('train writes the reason of a failure, and ends with an error code', async () => {
    const train = async (files: Record<string, string>) => {
      const ml = machineLearningFolder(files);
      const code = await image.start({ words: ['train'], env: { TUNESMITH_SAGEMAKER_FOLDER: ml } }).ended;
      return { code, reason: readFileSync(join(ml, 'output/failure'), 'utf8') };
    };
    expect(await train({})).toEqual({ code: 2, reason: expect.stringContaining('there is no channel `pipeline`') });
    const pipeline = { 'input/data/pipeline/mails.yaml': TRAINING };
    expect((await train({ ...pipeline, 'input/data/other/a.csv': 'a' })).reason).toContain(
      'the channel `other` is no parameter of mails.yaml',
    );
    const hyperparameters = { 'input/config/hyperparameters.json': '{"epoch":"2"}' };
    expect(await train({ ...pipeline, ...hyperparameters })).toEqual({ code: 2, reason: expect.stringContaining('epoch') });
    const failing = 'steps:\n  a: { run: echo no luck && exit 3, outputs: { bundle: out/b } }\n';
    expect(await train({ 'input/data/pipeline/a.yaml': failing })).toEqual({ code: 1, reason: expect.stringContaining('no luck') });
  });
});

describe('vertex', () => {
  test('answers at the port and the paths that the platform has set', async () => {
    const folder = await deployFor('vertex', model);
    const image = buildImage(folder);
    remove(folder);
    onTestFinished(image.remove);
    const port = String(await freePort());
    const paths = { AIP_HEALTH_ROUTE: '/v1/endpoints/7/deployedModels/8', AIP_PREDICT_ROUTE: '/v1/endpoints/7/deployedModels/8:predict' };
    const running = image.start({ env: { AIP_HTTP_PORT: port, AIP_STORAGE_URI: 'gs://bucket/model', ...paths } });
    onTestFinished(() => void running.child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${port}`;
    await ready(`${url}${paths.AIP_HEALTH_ROUTE}`, running);
    expect(running.output()).toContain('AIP_STORAGE_URI is not read');
    expect((await post(`${url}${paths.AIP_PREDICT_ROUTE}`, { instances: TEXTS })).json()).toEqual({ predictions: expected });
    running.child.kill('SIGTERM');
    expect(await running.ended).toBe(0);
  });
});

describe('azureml', () => {
  test('answers with the model that the platform has mounted', async () => {
    const folder = await deployFor('azureml', model);
    const image = buildImage(folder);
    onTestFinished(image.remove);
    const mounted = machineLearningFolder({});
    cpSync(join(folder, 'bundle'), join(mounted, '1/bundle'), { recursive: true });
    giveToNobody(mounted);
    const request = readFileSync(join(folder, 'request.json'), 'utf8');
    remove(folder);
    rmSync(join(image.workdir, 'bundle'), { recursive: true });
    const port = String(await freePort());
    const running = image.start({ env: { AZUREML_MODEL_DIR: mounted, PORT: port } });
    onTestFinished(() => void running.child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${port}`;
    await ready(`${url}/ready`, running);
    expect((await fetch(`${url}/live`)).status).toBe(200);
    expect((await post(`${url}/score`, { input_data: TEXTS })).json()).toEqual(expected);
    expect((await post(`${url}/score`, request)).json()).toHaveLength(2);
    running.child.kill('SIGTERM');
    expect(await running.ended).toBe(0);
  });
});

const TRAINING = `
params: { mails: none, base: none, epochs: 3, name: mails, save_steps: 1000 }
steps:
  collect: { uses: collect, with: { files: "\${{ params.mails }}/*.csv" } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", stratify: label } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: "\${{ params.base }}", max_length: 16 } }
  train:
    uses: train
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: "\${{ params.base }}", epochs: "\${{ params.epochs }}", save_steps: "\${{ params.save_steps }}" }
  deploy: { uses: deploy, with: { model: "\${{ steps.train.model }}", name: "\${{ params.name }}" } }
`;

/** A folder with these files, such as /opt/ml, which the user of the container may write. */
function machineLearningFolder(files: Record<string, string>): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-ml-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  for (const name of ['input/data', 'checkpoints']) mkdirSync(join(folder, name), { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  giveToNobody(folder);
  return folder;
}

function giveToNobody(folder: string): void {
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', '65534:65534', folder]);
}
