/** Files and archives at a URL: verified by SHA-256, and unpacked only inside one folder. */
import { mkdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { archiveForm, unpack } from '../../../engine/fetch/unpack.ts';
import { type Project, project } from '../../rig.ts';
import { engine } from '../run/rig.ts';
import { type Entry, tarOf, zipOf } from './archives.ts';
import { listed, listing, web } from './web.ts';

const GOOD: Entry[] = [
  { path: 'x-1.0/' },
  { path: 'x-1.0/data/a.csv', content: 'a' },
  { path: 'x-1.0/data/b.csv', content: 'b' },
  { path: 'x-1.0/run.sh', content: 'run', program: true },
  { path: 'x-1.0/link', link: 'data/a.csv' },
];

test('archives of each type are unpacked once, without a single top-level folder', async () => {
  const server = await web();
  const all = './data/a.csv a\n./data/b.csv b\n./link a\n./run.sh run\n';
  for (const [name, content] of [
    ['/x.tar.gz', gzipSync(tarOf(GOOD))],
    ['/x.tgz?download=1', gzipSync(tarOf(GOOD))],
    ['/x.tar', tarOf(GOOD)],
    ['/x.zip', zipOf(GOOD)],
    ['/download/17', zipOf(GOOD)],
  ] as const)
    expect(await listed(server.put(name, content))).toBe(all);
});

test('a path or glob selects files in it; a file that is not an archive is used as it is', async () => {
  const server = await web();
  const address = server.put('/x.zip', zipOf(GOOD));
  expect(await listed(`${address}/data/b.csv`)).toBe('b.csv b\n');
  expect(await listed(`${address}/data/*.csv`)).toBe('a.csv a\nb.csv b\n');
  expect(await listed(`${address}/data/c.csv`)).toMatch(/^there is no data\/c.csv in .*x.zip\ndid you mean "data\/a.csv"\?/);
  expect(await listed(server.put('/some/mails.jsonl', Buffer.from('{}')))).toBe('mails.jsonl {}\n');
});

test('it is downloaded and unpacked once, and again if it was changed', async () => {
  const server = await web();
  const p = engine(listing(server.put('/x.tar.gz', gzipSync(tarOf(GOOD)))));
  await p.go();
  expect((await p.go()).states).toEqual({ list: 'fresh' });
  expect((await p.go({ force: true })).states).toEqual({ list: 'ran' });
  expect(server.requests).toEqual(['/x.tar.gz']);
  const first = p.read('out/list.txt');
  p.write(p.find('.tunesmith/sources').find((file) => file.endsWith('a.csv'))!, 'edited');
  expect((await p.go({ force: true })).states).toEqual({ list: 'ran' });
  expect(p.read('out/list.txt')).toBe(first);
  expect(server.requests).toEqual(['/x.tar.gz', '/x.tar.gz']);
  expect(p.find('.tunesmith/sources').filter((file) => /downloads|\.lock|\.tunesmith-/.test(file))).toEqual([]);
  // The same bytes from another host are the same input.
  server.put('/mirror/x.tar.gz', server.files.get('/x.tar.gz')!);
  p.write('p.yaml', p.read('p.yaml').replace('/x.tar.gz', '/mirror/x.tar.gz'));
  expect((await p.go()).states).toEqual({ list: 'fresh' });
});

test('a download with another SHA-256 is refused', async () => {
  const server = await web();
  const address = server.put('/x.zip', zipOf(GOOD));
  server.files.set('/x.zip', zipOf([{ path: 'a', content: 'other' }]));
  const p = engine(listing(address));
  expect((await p.go()).failures.list!.message).toMatch(/x.zip has the wrong SHA-256: [0-9a-f]{64} instead of /);
  expect(p.find('.tunesmith/sources')).toEqual([]);
  expect(await listed(`${server.url}/gone.zip#sha256=${'0'.repeat(64)}`)).toMatch(
    /answers 404 for http.*gone.zip\nThe file may have moved/,
  );
});

test.each<[string, Entry[]]>([
  ['a way up', [{ path: '../evil', content: 'e' }]],
  ['a way up, later', [{ path: 'a/../../evil', content: 'e' }]],
  ['the root', [{ path: '/evil', content: 'e' }]],
  ['a way up of another system', [{ path: '..\\evil', content: 'e' }]],
  ['a link out', [{ path: 'a/link', link: '../../evil' }]],
  ['a link to the root', [{ path: 'link', link: '/etc/passwd' }]],
  [
    'a link that goes through another',
    [
      { path: 'd/l', link: '..' },
      { path: 'm', link: 'd/l/..' },
    ],
  ],
  [
    'an entry behind a link',
    [
      { path: 'l', link: 'd' },
      { path: 'l/evil', content: 'e' },
    ],
  ],
])('paths out of the folder are refused: %s', async (_, entries) => {
  for (const [form, archive] of [
    ['tar', tarOf([{ path: 'fine', content: 'f' }, ...entries])],
    ['zip', zipOf([{ path: 'fine', content: 'f' }, ...entries])],
  ] as const) {
    const p = project();
    expect(await unpacked(p, `x.${form}`, archive)).toMatch(
      /^refused to unpack x: (its (entry|link) .* (outside|points outside)|the path of its entry .* contains the link)/,
    );
    expect(p.find('.').filter((file) => file.includes('evil'))).toEqual([]);
  }
});

test('devices, hard links out of the folder, implausible sizes and broken archives are refused', async () => {
  const p = project();
  expect(await unpacked(p, 'x.tar', tarOf([{ path: 'null', type: '3' }]))).toMatch(/its entry null is a CharacterDevice/);
  expect(await unpacked(p, 'x.tar', tarOf([{ path: 'a', link: '../../etc/passwd', hard: true }]))).toMatch(/its link a points outside/);
  expect(await unpacked(p, 'x.zip', zipOf([{ path: 'a', content: 'x', size: 4e9 }]))).toMatch(
    /expands to more than 1 GB, which is implausible/,
  );
  expect(await unpacked(p, 'x.tar', tarOf([{ path: 'a', content: 'x', size: 4e9 }]))).toMatch(
    /expands to more than 1 GB, which is implausible/,
  );
  expect(await unpacked(p, 'x.zip', Buffer.from('no zip at all, but long enough to be looked at'))).toMatch(/x is not a valid zip archive/);
  expect(await unpacked(p, 'x.tar.gz', Buffer.from('no tar at all'))).toMatch(/x is not a valid tar archive/);
  expect(await unpacked(p, 'x.tar.gz', gzipSync(tarOf(GOOD)).subarray(0, 120))).toMatch(/x is not a valid tar archive/);
  expect(await unpacked(p, 'x.tar', tarOf(GOOD).subarray(0, 1100))).toMatch(/x is not a valid tar archive/);
});

test('the later one of two entries with the same name counts; a file and a folder with the same name are an error', async () => {
  const twice: Entry[] = [
    { path: 'a', content: 'first' },
    { path: 'a', content: 'second' },
  ];
  for (const [name, archive] of [
    ['x.tar', tarOf(twice)],
    ['x.zip', zipOf(twice)],
  ] as const) {
    const p = project();
    await unpacked(p, name, archive);
    expect(
      p
        .find('.')
        .filter((file) => file.endsWith('/a'))
        .map(p.read),
    ).toEqual(['second']);
  }
  const both: Entry[] = [
    { path: 'a', content: 'a file' },
    { path: 'a/b', content: 'in a folder' },
  ];
  expect(await unpacked(project(), 'x.zip', zipOf(both))).toMatch(/^x is not a valid zip archive: two entries have the same path/);
});

test('Ctrl-C stops unpacking', async () => {
  const p = project();
  for (const [name, archive] of [
    ['x.tar', tarOf(GOOD)],
    ['x.zip', zipOf(GOOD)],
  ] as const)
    expect(await unpacked(p, name, archive, AbortSignal.abort())).toMatch(/aborted/);
});

test('no files are left of a refused archive', async () => {
  const server = await web();
  const p = project({
    'p.yaml': listing(
      server.put(
        '/x.zip',
        zipOf([
          { path: 'fine', content: 'f' },
          { path: '../evil', content: 'e' },
        ]),
      ),
    ),
  });
  const { events } = await p.states('p.yaml');
  expect(events.find(({ failure }) => failure).failure.message).toMatch(/refused to unpack .*x.zip/);
  expect(p.find('.').filter((file) => /evil|fine/.test(file))).toEqual([]);
});

/** The error of an archive. */
async function unpacked(p: Project, name: string, archive: Buffer, signal = new AbortController().signal): Promise<string> {
  p.write(name, archive);
  p.remove('out');
  mkdirSync(p.path('out'));
  const form = (await archiveForm(p.path(name), name))!;
  return unpack(p.path(name), form, p.path('out'), 'x', signal).then(
    () => 'unpacked',
    (error) => error.message,
  );
}

test('a zip with a wrong size or hash fails only its own cell', async () => {
  const server = await web();
  const long = Buffer.alloc(300_000, 'spam and eggs ');
  for (const [name, entry, what] of [
    ['less', { size: 10 }, 'big.txt is larger than its declared 10 bytes'],
    ['more', { size: 400_000 }, 'big.txt has 300000 bytes instead of its declared 400000'],
    ['other', { crc: 7 }, 'big.txt is damaged: its CRC-32 does not match'],
  ] as const) {
    const address = server.put(
      `/${name}.zip`,
      zipOf([
        { path: 'a.txt', content: 'a' },
        { path: 'big.txt', content: long, packed: true, ...entry },
      ]),
    );
    const told = `${address.split('#')[0]} is not a valid zip archive: ${what}`;
    if (name !== 'less') {
      expect(await listed(address)).toContain(told);
      continue;
    }
    const p = project({
      'p.yaml': `${listing(address)}  other: { run: "sleep 0.5; echo done > \${{ outputs.o }}", outputs: { o: out/o } }\n  wordy: { uses: ./wordy.mjs }\n`,
      'wordy.mjs': `export default { name: 'wordy', version: 1, outputs: { o: 'file' }, run: () => { setTimeout(() => { throw new Error('late'); }, 5); return new Promise(() => {}); } };`,
    });
    const { cells, events, code } = await p.states('p.yaml', '--on-failure', 'continue');
    expect({ code, cells }).toEqual({ code: 1, cells: { list: 'failed', other: 'ran', wordy: 'failed' } });
    const { failure } = events.find(({ type, cell, state }) => type === 'cell' && cell === 'list' && state === 'failed');
    expect(failure.message).toBe(told);
  }
});
