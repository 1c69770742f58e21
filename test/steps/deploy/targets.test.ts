import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import { instructionsOf } from '../../image.ts';
import { deployFor } from '../../targets.ts';
import { makeModel, remove } from '../serving/bundle.ts';

let model: string;
let http: string;
beforeAll(async () => {
  model = await makeModel();
  http = await deployFor('http', model);
});
afterAll(() => remove(model, http));

const read = (folder: string, name: string) => readFileSync(join(folder, name), 'utf8');

test('the folder of a target contains the bundle, and is opened like the bundle', async () => {
  const bundle = await openBundle(http);
  expect(bundle).toMatchObject({ folder: join(http, 'bundle'), name: 'Tiny mails', labels: ['ham', 'spam'] });
});

test('the same model makes the same files, to the byte', async () => {
  const again = await deployFor('http', model);
  const files = readdirSync(http, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { parentPath, name } of files) {
    const file = join(parentPath, name);
    expect(readFileSync(file).equals(readFileSync(file.replace(http, again))), file).toBe(true);
  }
  remove(again);
});

test('bash reads every shell block of the README and of docs/clouds.md', () => {
  const pages = [read(http, 'README.md'), read(join(import.meta.dirname, '../../..'), 'docs/clouds.md')];
  const blocks = pages.flatMap((page) => [...page.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block!));
  expect(blocks.length).toBeGreaterThan(10);
  for (const input of blocks) execFileSync('bash', ['-n'], { input, stdio: 'pipe' });
});

test('the lockfile has every package that serving needs, each with its hash, and no script', () => {
  const { packages } = JSON.parse(read(http, 'package-lock.json'));
  for (const [folder, entry] of Object.entries<any>(packages)) {
    if (folder === '') continue;
    expect(entry.integrity, folder).toMatch(/^sha512-/);
    expect(entry.hasInstallScript, folder).toBeUndefined();
    for (const name of Object.keys(entry.dependencies ?? {}))
      expect(packages[`${folder}/node_modules/${name}`] ?? packages[`node_modules/${name}`], `${name} of ${folder}`).toBeDefined();
  }
  expect(Object.keys(packages)).toContain('node_modules/onnxruntime-node');
  expect(Object.keys(packages)).not.toContain('node_modules/@duckdb/node-api');
});

/** The Dockerfiles of the other targets come from the same function as that of http. */
test.each(['http', 'fastapi'] as const)(
  'the image of %s has a pinned base, no build tools, a user without rights and a health check',
  async (target) => {
    const folder = target === 'http' ? http : await deployFor(target, model);
    const all = instructionsOf(read(folder, 'Dockerfile'));
    if (target !== 'http') remove(folder);
    for (const { rest } of all.filter(({ name }) => name === 'FROM')) expect(rest).toMatch(/^[a-z]+:\d+\.\d+(\.\d+)?-[a-z-]+( AS \w+)?$/);
    const last = all.slice(all.findLastIndex(({ name }) => name === 'FROM'));
    // Debian's slim images have no compiler, and that of Python has pip.
    const runs = last.flatMap(({ name, rest }) => (name === 'RUN' ? [rest] : []));
    expect(runs).toEqual(target === 'fastapi' ? [expect.stringMatching(/^rm -rf .*site-packages .*ensurepip .*\/bin\/pip /)] : []);
    const copied = last.flatMap(({ name, rest }) => (name === 'COPY' && rest.startsWith('--from') ? [rest.split(' ').at(-1)] : []));
    expect(copied).toEqual(target === 'fastapi' ? ['./packages'] : ['/usr/local/bin/node', './node_modules']);
    expect(last.find(({ name }) => name === 'USER')!.rest).toBe('10001:10001');
    expect(last.some(({ name }) => name === 'HEALTHCHECK')).toBe(true);
  },
);

describe('kubernetes.yaml', () => {
  const manifests = () => Object.fromEntries(parseAllDocuments(read(http, 'kubernetes.yaml')).map((one) => [one.get('kind'), one.toJS()]));

  test('fits the restricted Pod Security Standard, and the root file system is read-only', () => {
    const { spec } = manifests().Deployment.spec.template;
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: 'RuntimeDefault' } });
    expect(spec.containers).toHaveLength(1);
    expect(spec.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(spec.containers[0].volumeMounts).toEqual([{ name: 'tmp', mountPath: '/tmp' }]);
    expect(spec.volumes).toEqual([{ name: 'tmp', emptyDir: { sizeLimit: '64Mi' } }]);
    for (const name of ['hostNetwork', 'hostPID', 'hostIPC']) expect(spec).not.toHaveProperty(name);
  });

  test('a pod has time to start and to end, and has limits', () => {
    const { spec } = manifests().Deployment.spec.template;
    const [{ startupProbe, readinessProbe, livenessProbe, lifecycle, resources, ports }] = spec.containers;
    for (const probe of [startupProbe, readinessProbe, livenessProbe]) expect(probe.httpGet).toEqual({ path: '/health', port: 'http' });
    expect(startupProbe.periodSeconds * startupProbe.failureThreshold).toBeGreaterThanOrEqual(60);
    // The server takes up to 25 seconds to end.
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(lifecycle.preStop.sleep.seconds + 25);
    expect(resources.limits.memory).toBe(resources.requests.memory);
    expect(resources.requests).toHaveProperty('cpu');
    expect(ports).toEqual([{ name: 'http', containerPort: 8080 }]);
  });

  test('the service, the autoscaler and the disruption budget are for the pods of the deployment, and an eviction is possible', () => {
    const { Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget } = manifests();
    const { labels } = Deployment.spec.template.metadata;
    expect(Deployment.spec.selector.matchLabels).toEqual(labels);
    expect(Service.spec.selector).toEqual(labels);
    expect(Service.spec.ports[0].targetPort).toBe('http');
    expect(PodDisruptionBudget.spec.selector.matchLabels).toEqual(labels);
    const { scaleTargetRef, minReplicas, maxReplicas } = HorizontalPodAutoscaler.spec;
    expect(scaleTargetRef).toMatchObject({ kind: 'Deployment', name: Deployment.metadata.name });
    expect(maxReplicas).toBeGreaterThan(minReplicas);
    expect(minReplicas).toBeGreaterThan(PodDisruptionBudget.spec.minAvailable);
    // The autoscaler decides.
    expect(Deployment.spec).not.toHaveProperty('replicas');
  });
});
