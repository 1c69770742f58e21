/**
 * One cache for us and for Python's huggingface_hub: each uses the downloads of the other, without a network. And one hub: each
 * downloads what the other has pushed, which also shows that our hub behaves as Python expects it. Needs PyPI;
 * TUNESMITH_TEST_PYTHON may name a Python that has the package, to save time.
 */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startHub } from '../engine/fetch/hub.ts';
import { project } from '../rig.ts';
import { promotable } from '../steps/promote/bundles.ts';
import { makeModel, remove } from '../steps/serving/bundle.ts';

const folder = mkdtempSync(join(tmpdir(), 'tunesmith-hub-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let python = process.env.TUNESMITH_TEST_PYTHON ?? '';
beforeAll(() => {
  if (python !== '') return;
  execFileSync('python3', ['-m', 'venv', join(folder, 'venv')]);
  python = join(folder, 'venv/bin/python');
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'huggingface_hub==2.4.0'], { stdio: 'pipe' });
}, 300_000);

const FILES = {
  'config.json': '{"model_type":"bert"}',
  'tokenizer.json': '{}',
  'model.safetensors': 'w'.repeat(5000),
  'README.md': '# tiny\n',
  'sub/extra.json': '{}',
};
const YAML = `
steps:
  list:
    run: cd \${{ inputs.model }} && find -L . -type f | sort > "$OLDPWD"/\${{ outputs.list }}
    inputs: { model: "hf://owner/tiny" }
    outputs: { list: out/list.txt }
`;
const LISTED = './README.md\n./config.json\n./model.safetensors\n./sub/extra.json\n./tokenizer.json\n';

type Env = Record<string, string | undefined>;

async function inPython(env: Env, code: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(python, ['-c', code, ...args], { env: { ...process.env, ...env } as NodeJS.ProcessEnv });
  return stdout.trim();
}

const snapshot = (env: Env, code = 'print(snapshot_download("owner/tiny"))'): Promise<string> =>
  inPython(env, `from huggingface_hub import snapshot_download, hf_hub_download\n${code}`);

async function fixture() {
  const hub = await startHub();
  const commit = hub.publish('owner/tiny', FILES);
  const p = project({ 'p.yaml': YAML });
  Object.assign(p.env, { HF_ENDPOINT: hub.url, HF_HOME: p.path('hf'), HF_TOKEN: undefined, HF_HUB_OFFLINE: undefined });
  return { hub, p, commit };
}

test("we use Python's downloads without the hub", async () => {
  const { hub, p, commit } = await fixture();
  expect(await snapshot(p.env)).toContain(commit);
  hub.stop();
  const { cells, events } = await p.states('p.yaml');
  expect(cells).toEqual({ list: 'ran' });
  expect(p.read('out/list.txt')).toBe(LISTED);
  expect(events.filter(({ type }) => type === 'notice')).toHaveLength(1);
  p.env.HF_HUB_OFFLINE = '1';
  expect((await p.states('p.yaml', '--force')).events.filter(({ type }) => type === 'notice')).toEqual([]);
});

test('Python uses our downloads without the hub', async () => {
  const { hub, p, commit } = await fixture();
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
  hub.stop();
  expect(await snapshot({ ...p.env, HF_HUB_OFFLINE: '1' })).toBe(p.path(`hf/hub/models--owner--tiny/snapshots/${commit}`));
  expect(await snapshot({ ...p.env, HF_HUB_OFFLINE: '1' }, 'print(open(hf_hub_download("owner/tiny", "sub/extra.json")).read())')).toBe(
    '{}',
  );
});

test("an incomplete download of Python's is completed, and only what is missing is requested", async () => {
  const { hub, p } = await fixture();
  await snapshot(p.env, 'hf_hub_download("owner/tiny", "model.safetensors")');
  hub.requests.length = 0;
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
  expect(p.read('out/list.txt')).toBe(LISTED);
  expect(hub.requests.filter(({ url }) => url.includes('model.safetensors'))).toEqual([]);
});

const TOKEN = 'hf_writer';

async function writableHub(partSize?: number) {
  const hub = await startHub();
  Object.assign(hub, { partSize });
  hub.tokens.set(TOKEN, { mayRead: [], mayWrite: ['acme'] });
  const p = project();
  Object.assign(p.env, {
    HF_ENDPOINT: hub.url,
    HF_HOME: p.path('hf'),
    HF_TOKEN: TOKEN,
    HF_HUB_OFFLINE: undefined,
    HF_HUB_DISABLE_TELEMETRY: '1',
    // Our hub has only Git LFS.
    HF_HUB_DISABLE_XET: '1',
  });
  const bundle = promotable('a', p.path('bundle'));
  writeFileSync(join(bundle, 'README.md'), '---\nlicense: mit\n---\n\n# a\n');
  writeFileSync(join(bundle, 'model.safetensors'), Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251)));
  writeFileSync(join(bundle, 'empty.bin'), '');
  const expectSame = (folder: string, without: string[] = []) => {
    const files = p.find('bundle').map((name) => name.slice('bundle/'.length));
    for (const name of files) expect(readFileSync(join(folder, name)).equals(readFileSync(join(bundle, name))), name).toBe(true);
    const found = p.find(folder).map((name) => p.path(name).slice(folder.length + 1));
    expect(found.filter((name) => !files.includes(name) && !without.includes(name) && !name.startsWith('.cache'))).toEqual([]);
  };
  return { hub, p, expectSame };
}

test.each([undefined, 20_000])(
  'Python downloads what we pushed, byte for byte, by branch and by tag; its upload of the same changes nothing (parts of %s bytes)',
  async (partSize) => {
    const { hub, p, expectSame } = await writableHub(partSize);
    const { code, stderr } = await p.run('push', 'bundle', 'acme/spam', '--private', '--branch', 'next', '--tag', 'v1.0');
    expect([code, stderr]).toEqual([0, '']);
    const script = `
import json, sys
from huggingface_hub import HfApi, snapshot_download
api = HfApi()
refs = api.list_repo_refs("acme/spam")
for revision in ("next", "v1.0"):
    snapshot_download("acme/spam", revision=revision, local_dir=sys.argv[1] + revision)
commit = api.upload_folder(repo_id="acme/spam", folder_path="bundle", revision="next")
print(json.dumps({
    "private": api.model_info("acme/spam").private,
    "branches": {one.name: one.target_commit for one in refs.branches},
    "tags": {one.name: one.target_commit for one in refs.tags},
    "commit": commit.oid,
}))
`;
    const out = JSON.parse(
      (
        await promisify(execFile)(python, ['-c', script, p.path('from-')], {
          cwd: p.folder,
          env: { ...process.env, ...p.env } as NodeJS.ProcessEnv,
        })
      ).stdout,
    );
    const { refs } = hub.repositories.get('acme/spam')!;
    expect(out).toEqual({
      private: true,
      branches: { main: refs.main, next: refs['v1.0'] },
      tags: { 'v1.0': refs['v1.0'] },
      commit: refs['v1.0'],
    });
    for (const revision of ['next', 'v1.0']) expectSame(p.path(`from-${revision}`), ['.gitattributes']);
  },
);

test.each([undefined, 20_000])(
  'we download what Python uploaded, by its tag; our push of the same changes nothing (parts of %s bytes)',
  async (partSize) => {
    const { hub, p } = await writableHub(partSize);
    const script = `
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("acme/spam", private=True)
api.create_branch("acme/spam", branch="next")
print(api.upload_folder(repo_id="acme/spam", folder_path="bundle", revision="next", commit_message="by Python").oid)
api.create_tag("acme/spam", tag="v2", revision="next")
try:
    api.create_tag("acme/spam", tag="v2")
except Exception as error:
    print(type(error).__name__, error.response.status_code)
`;
    const { stdout } = await promisify(execFile)(python, ['-c', script], {
      cwd: p.folder,
      env: { ...process.env, ...p.env } as NodeJS.ProcessEnv,
    });
    const { refs, private: isPrivate, messages } = hub.repositories.get('acme/spam')!;
    expect(stdout.trim().split('\n')).toEqual([refs.v2, 'HfHubHTTPError 409']);
    expect([isPrivate, messages![refs.v2!]]).toEqual([true, 'by Python']);
    const before = Object.keys(hub.repositories.get('acme/spam')!.commits).length;
    const again = await p.run('push', 'bundle', 'acme/spam', '--branch', 'next', '--tag', 'v2');
    expect(again.screen).toContain('has the same files already, so there is no new commit');
    expect(Object.keys(hub.repositories.get('acme/spam')!.commits).length).toBe(before);

    p.write(
      'p.yaml',
      `
steps:
  copy:
    run: cp -rL \${{ inputs.model }} \${{ outputs.copy }}
    inputs: { model: "hf://acme/spam@v2" }
    outputs: { copy: copy }
`,
    );
    expect((await p.states('p.yaml')).cells).toEqual({ copy: 'ran' });
    const copied = p.find('copy').map((name) => name.slice('copy/'.length));
    expect(copied).toContain('model.safetensors');
    for (const name of copied) expect(readFileSync(p.path(`copy/${name}`)).equals(readFileSync(p.path(`bundle/${name}`))), name).toBe(true);
  },
);

test('Python reads the metadata of a model card with its results', async () => {
  const { p } = await writableHub();
  const model = await makeModel();
  cpSync(model, p.path('model'), { recursive: true });
  remove(model);
  p.write(
    'metrics.json',
    JSON.stringify({
      split: 'test',
      rows: 10,
      metrics: { accuracy: 0.98, f1: 0.9624, roc_auc: null },
      undefined: { roc_auc: 'one class' },
    }),
  );
  p.write(
    'p.yaml',
    `
steps:
  ship:
    uses: deploy
    with: { target: hub, hub: { repo: acme/spam }, name: mails, license: mit, model: model, metrics: metrics.json }
`,
  );
  expect((await p.states('p.yaml')).cells).toEqual({ ship: 'ran' });
  const script = `
import json
from huggingface_hub import ModelCard, hf_hub_download, metadata_load
data = ModelCard.load("acme/spam").data
raw = metadata_load(hf_hub_download("acme/spam", "README.md"))
print(json.dumps({
    "license": data.license, "library": data.library_name, "task": data.pipeline_tag, "tags": data.tags, "name": data.model_name,
    "results": [[one.task_type, one.dataset_name, one.dataset_type, one.dataset_split, one.metric_type, one.metric_value] for one in data.eval_results],
    "raw": raw["model-index"][0]["name"],
}))
`;
  expect(JSON.parse(await inPython(p.env, script))).toEqual({
    license: 'mit',
    library: 'transformers',
    task: 'text-classification',
    tags: ['text-classification', 'bert', 'onnx', 'transformers.js', 'tunesmith'],
    name: 'mails',
    results: [
      ['text-classification', 'Unknown', 'unknown', 'test', 'accuracy', 0.98],
      ['text-classification', 'Unknown', 'unknown', 'test', 'f1', 0.9624],
    ],
    raw: 'mails',
  });
});
