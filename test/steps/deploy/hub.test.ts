/** `target: hub` in a pipeline: what is pushed, what a rerun does, and where the token must not be. */
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { startHub } from '../../engine/fetch/hub.ts';
import { project } from '../../rig.ts';
import { makeModel, remove } from '../serving/bundle.ts';

const TOKEN = 'secret-of-a-hub';
const YAML = `
steps:
  ship:
    uses: deploy
    with:
      target: hub
      hub: { repo: acme/spam, private: true, tag: v1 }
      name: mails
      license: mit
      model: model
`;

async function projectWithModel(yaml = YAML) {
  const hub = await startHub();
  hub.tokens.set(TOKEN, { mayRead: [], mayWrite: ['acme'] });
  const p = project(
    { 'p.yaml': yaml },
    { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HUGGING_FACE_HUB_TOKEN: undefined, HF_HUB_OFFLINE: undefined },
  );
  const model = await makeModel();
  onTestFinished(() => remove(model));
  cpSync(model, p.path('model'), { recursive: true });
  return { hub, p };
}

test('a pipeline pushes the bundle and records it; a rerun does nothing, and --force makes no second commit; the token is nowhere', async () => {
  const { hub, p } = await projectWithModel();
  const started = p.start('run', 'p.yaml', '--json');
  await p.until(() => hub.requests.some(({ url }) => url.includes('batch')));
  const commands = readdirSync('/proc').flatMap((pid) => (/^\d+$/.test(pid) ? commandOf(pid) : []));
  const first = await started.done;
  expect(first.events.at(-1)).toMatchObject({ type: 'summary', cells: { ship: 'ran' } });
  const bundle = p.find('.tunesmith/outputs').find((name) => name.endsWith('pushed.json'))!;
  const repository = hub.repositories.get('acme/spam')!;
  const pushed = JSON.parse(p.read(bundle));
  expect(pushed).toEqual({
    repo: 'acme/spam',
    branch: 'main',
    revision: repository.refs.main,
    tag: 'v1',
    private: true,
    url: `${hub.url}/acme/spam/tree/v1`,
  });
  const files = repository.commits[pushed.revision]!;
  const local = p.find(bundle.replace('/pushed.json', '')).filter((name) => name !== bundle);
  for (const name of local)
    expect(readFileSync(p.path(name)).equals(Buffer.from(files[name.slice(bundle.length - 'pushed.json'.length)]!)), name).toBe(true);
  expect(Object.keys(files).length).toBe(local.length + 1); // .gitattributes
  const requests = hub.requests.length;
  const again = await p.run('run', 'p.yaml');
  expect(hub.requests.length).toBe(requests);
  const forced = await p.states('p.yaml', '--force');
  expect(forced.cells).toEqual({ ship: 'ran' });
  expect(JSON.stringify(forced.events)).toContain('unchanged, commit');
  expect(Object.keys(repository.commits).length).toBe(2);
  for (const text of [commands.join(), first.stdout, first.stderr, again.screen, forced.stdout]) expect(text).not.toContain(TOKEN);
  const kept = p.find('.').filter((name) => readFileSync(p.path(name)).includes(TOKEN));
  expect(kept).toEqual([]);
}, 120_000);

function commandOf(pid: string): string[] {
  try {
    return [readFileSync(`/proc/${pid}/cmdline`, 'utf8')];
  } catch {
    return []; // it has ended
  }
}

test('wrong options and a missing token are found before the run', async () => {
  const { hub, p } = await projectWithModel(YAML.replace('acme/spam', 'spam').replace('tag: v1', 'tag: v 1'));
  const wrong = await p.run('run', 'p.yaml');
  expect(wrong.code).toBe(2);
  expect(wrong.screen).toContain('spam is not of the form OWNER/NAME');
  p.write('p.yaml', YAML.replace('target: hub', 'target: bundle'));
  expect((await p.run('validate', 'p.yaml')).screen).toContain('`hub` applies only to `target: hub`');
  p.write('p.yaml', YAML);
  p.env.HF_TOKEN = undefined;
  p.env.HF_TOKEN_PATH = p.path('no-token');
  const missing = await p.run('run', 'p.yaml');
  expect(missing.code).toBe(2);
  expect(missing.screen).toContain('a push to the hub needs a token, and HF_TOKEN is not set');
  expect(missing.screen).toContain('target: hub');
  expect(hub.requests).toEqual([]);
  // The token that \`hf auth login\` has stored.
  p.write('no-token', TOKEN);
  expect((await p.run('run', 'p.yaml', '--dry-run')).code).toBe(0);
});
