/**
 * One cache for us and for Python's huggingface_hub: each uses the downloads of the other, without a network. Needs
 * PyPI; TUNESMITH_TEST_PYTHON may name a Python that has the package, to save time.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startHub } from '../engine/fetch/hub.ts';
import { project } from '../rig.ts';

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

async function snapshot(env: Record<string, string | undefined>, code = ''): Promise<string> {
  const script = `from huggingface_hub import snapshot_download, hf_hub_download\n${code || 'print(snapshot_download("owner/tiny"))'}`;
  const { stdout } = await promisify(execFile)(python, ['-c', script], { env: { ...process.env, ...env } as NodeJS.ProcessEnv });
  return stdout.trim();
}

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
