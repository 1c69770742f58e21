/** Permissions and long names in archives. */
import { expect, test } from 'vitest';
import { tarOf, zipOf } from '../../engine/fetch/archives.ts';
import { listed, listing, web } from '../../engine/fetch/web.ts';
import { project } from '../../rig.ts';

test('only executable bits are preserved; an entry with a name that is too long is reported', async () => {
  const server = await web();
  const entries = [
    { path: 'set', content: '', mode: 0o7777 },
    { path: 'hidden', content: '', mode: 0o000 },
    { path: 'locked/', mode: 0o7000 },
    { path: 'locked/in', content: '', mode: 0o4644 },
  ];
  for (const [name, content] of [
    ['/x.tar', tarOf(entries)],
    ['/x.zip', zipOf(entries.filter(({ path }) => !path.endsWith('/')))],
  ] as const) {
    const p = project({ 'p.yaml': listing(server.put(name, content)) });
    expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
    const modes = p
      .find('.tunesmith/sources/web', { all: true })
      .map((file) => [file.split('/').slice(5).join('/'), p.stat(file).mode & 0o7777]);
    expect(Object.fromEntries(modes)).toMatchObject({ 'x/set': 0o755, 'x/hidden': 0o644, 'x/locked': 0o755, 'x/locked/in': 0o644 });
  }
  const name = 'x'.repeat(260);
  const refused = await listed(server.put('/long.zip', zipOf([{ path: `in/${name}`, content: '' }])));
  expect(refused).toContain(`long.zip: its entry in/${name} has a name of 260 bytes, but file systems allow 255`);
  const deep = await listed(server.put('/deep.zip', zipOf([{ path: `${'d/'.repeat(2100)}a`, content: '' }])));
  expect(deep).toMatch(/deep\.zip: its entry [d/]+a would have a path of \d+ bytes, but the system allows 4095/);
});
