/** A damaged cache and a full disk: the screens. */
import { rmSync, writeFileSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { FILES, fullDisk, steady } from '../../contract/bad-input/full-disk.ts';
import { failure, STACK } from '../../contract/bad-input/rig.ts';
import { project } from '../../rig.ts';

test.each(['index.sqlite', 'state.sqlite'])('%s that is no SQLite file', async (name) => {
  const p = project(FILES);
  await p.states('p.yaml');
  for (const side of ['-wal', '-shm']) rmSync(p.path(`.tunesmith/${name}${side}`), { force: true });
  writeFileSync(p.path(`.tunesmith/${name}`), 'not a database, but text that is long enough to be taken for one'.repeat(100));
  const screens = [];
  for (const command of ['run', 'status']) {
    const before = p.read(`.tunesmith/${name}`);
    const { code, screen } = await p.run(command, 'p.yaml');
    screens.push(`$ ${command} → ${code}\n${screen}`);
    expect(screen).not.toMatch(STACK);
    expect(p.read(`.tunesmith/${name}`)).toBe(before);
  }
  expect(`\n${screens.join('')}`).toMatchSnapshot();
});

test('the disk is full when a result is restored: the edited file is saved and reported', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  p.write('out/o.txt', 'edited\n');
  fullDisk(p);
  expect(steady(await failure(p))).toMatchInlineSnapshot(`
    "
    a: failed after <time>: disk full while restoring <project>/out/o.txt: <size> needed, <size> free at <project>/out
      Free space and run again. No data was lost, and no partial files are left. \`tunesmith gc --failed\` removes the outputs of failed cells.
      log: .tunesmith/logs/2/a.log
    p: 1 failed · <time>
      failed: a

    note: a: tunesmith did not write out/o.txt, so it was saved as .tunesmith/kept/<moment>/out/o.txt
    "
  `);
  expect(p.find('.tunesmith/kept').map((file) => p.read(file))).toEqual(['edited\n']);
});

test('a damaged index that is detected while storing: after it is moved away, the result is stored', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const index = new Sqlite(p.path('.tunesmith/index.sqlite'));
  index.exec(`create trigger damage before insert on results begin select raise(abort, 'database disk image is malformed'); end`);
  index.close();
  p.write('in.txt', 'other text\n');
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  const said = screen.replace(/\s+/g, ' ');
  expect(code, screen).toBe(1);
  expect(said).toContain('is damaged (database disk image is malformed)');
  expect(said).toContain(
    'Move it away and run again; the next run creates a new index and keeps stored objects. The outputs of the cell are in .tunesmith/failed.',
  );
  expect(said).not.toContain('Free space');
  for (const name of p.find('.tunesmith').filter((name) => name.includes('index.sqlite'))) p.remove(name);
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'restored' });
  expect([p.read('out/o.txt'), p.find('.tunesmith/failed')]).toEqual(['other text\n', []]);
});
