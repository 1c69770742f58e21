/** `target: hub` in a pipeline: what is pushed, what a rerun does, and where the token must not be. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import step from '../../../steps/deploy/step.ts';
import { project } from '../../rig.ts';
import { TOKEN } from '../ml/hub/pushes.ts';
import { projectThatPushes, YAML } from './hub-project.ts';

test('a pipeline pushes the bundle and records it; a rerun does nothing; the token is nowhere', async () => {
  const { hub, p } = await projectThatPushes();
  const started = p.start('run', 'p.yaml', '--json');
  await p.until(() => hub.requests.some(({ url }) => url.includes('batch')));
  const commands = (existsSync('/proc') ? readdirSync('/proc') : []).flatMap((pid) => (/^\d+$/.test(pid) ? commandOf(pid) : []));
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
  for (const text of [commands.join(), first.stdout, first.stderr, again.screen]) expect(text).not.toContain(TOKEN);
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

test('wrong options are found before the run', () => {
  const problems = (target: string, hub?: object) =>
    step.check!({ target, hub } as never).map(({ option, message }) => `${option}: ${message}`);
  expect(problems('hub', { repo: 'acme/spam', tag: 'v1', branch: 'next' })).toEqual([]);
  expect(problems('hub')).toEqual(['target: `target: hub` needs `hub`']);
  expect(problems('bundle', { repo: 'acme/spam' })).toEqual(['hub: `hub` applies only to `target: hub`']);
  expect(problems('hub', { repo: 'spam' })).toEqual(['hub.repo: spam is not of the form OWNER/NAME']);
  expect(problems('hub', { repo: 'acme/spam', tag: 'v 1' })).toEqual(['hub.tag: v 1 is not the name of a tag in git']);
});

test('a missing token is found before the run', async () => {
  const p = project({ 'p.yaml': YAML, 'model/config.json': '{}' }, { HF_TOKEN: undefined, HUGGING_FACE_HUB_TOKEN: undefined });
  p.env.HF_TOKEN_PATH = p.path('no-token');
  const { code, screen } = await p.run('run', 'p.yaml');
  expect(code).toBe(2);
  expect(screen).toContain('a push to the hub needs a token, and HF_TOKEN is not set');
  expect(screen).toContain('target: hub');
});
