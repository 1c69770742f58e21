/**
 * Targets of a user who has no checkout: tunesmith is installed from its package into an empty project, `deploy` runs there, and the image
 * is built and started. Needs the npm registry.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { buildImage, instructionsOf } from '../../image.ts';
import { root } from '../../rig.ts';
import { makeModel, remove } from '../../steps/serving/bundle.ts';
import { deployFor, freePort, post, ready } from '../../targets.ts';

const base = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-installed-')));
const project = join(base, 'project');
const outputs = join(project, '.tunesmith/outputs/deploy');
let model: string;

beforeAll(async () => {
  model = await makeModel();
  mkdirSync(project);
  const said = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', base], { cwd: root, encoding: 'utf8' });
  const [{ filename }] = JSON.parse(said.slice(said.indexOf('[\n')));
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  writeFileSync(
    join(project, 'deploy.yaml'),
    `steps:
  http: { uses: deploy, with: { target: http, name: Tiny mails, license: mit, model: ${model} } }
  sagemaker: { uses: deploy, with: { target: sagemaker, name: Tiny mails, license: mit, model: ${model} } }
  fastapi: { uses: deploy, with: { target: fastapi, name: Tiny mails, license: mit, model: ${model} } }
`,
  );
  const inProject = (...words: string[]) => execFileSync(words[0]!, words.slice(1), { cwd: project, stdio: 'pipe' });
  inProject('npm', 'install', '--no-audit', '--no-fund', join(base, filename));
  inProject('npx', 'tunesmith', 'run', 'deploy.yaml');
});
afterAll(() => {
  remove(model);
  rmSync(base, { recursive: true, force: true, maxRetries: 3 });
});

test.each(['http', 'sagemaker', 'fastapi'] as const)('the folder for %s is that of a checkout, to the byte', async (target) => {
  const ofCheckout = await deployFor(target, model);
  onTestFinished(() => remove(ofCheckout));
  execFileSync('diff', ['--recursive', join(outputs, target, 'bundle'), ofCheckout], { stdio: 'pipe' });
});

test.each([
  ['http', 'predict', 'inputs', ['serve', 'bundle', '--host', '127.0.0.1', '--port']],
  ['sagemaker', 'invocations', 'instances', undefined],
] as const)('the image for %s is installed from its lockfile alone, and answers', async (target, path, field, words) => {
  const folder = join(outputs, target, 'bundle');
  const runs = instructionsOf(readFileSync(join(folder, 'Dockerfile'), 'utf8')).filter(({ name }) => name === 'RUN');
  expect(runs.map(({ rest }) => rest.split(' &&')[0])).toEqual(['npm ci --omit=dev --ignore-scripts --no-audit --no-fund']);
  const image = buildImage(folder);
  onTestFinished(image.remove);
  const port = String(await freePort());
  const command = words && [...image.command.slice(0, 2), ...words, port];
  const running = image.start({ env: { SAGEMAKER_BIND_TO_PORT: port }, ...(command && { words: command }) });
  onTestFinished(() => void running.child.kill('SIGKILL'));
  await ready(`http://127.0.0.1:${port}/${target === 'http' ? 'health' : 'ping'}`, running);
  const answer = await post(`http://127.0.0.1:${port}/${path}`, { [field]: ['See you at 7.'] });
  expect(answer.json()).toEqual({ predictions: [{ label: expect.any(String), scores: expect.any(Object) }] });
  running.child.kill('SIGTERM');
  expect(await running.ended).toBe(0);
});
