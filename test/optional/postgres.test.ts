/**
 * A real PostgreSQL, as Debian packages it: the rows of a query, authentication, and that no password is written
 * anywhere.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { project } from '../rig.ts';
import { readRows } from '../table.ts';

const versions = '/usr/lib/postgresql';
const bin = join(versions, readdirSync(versions).sort().at(-1)!, 'bin');
/** PostgreSQL does not run as root. */
const user = process.getuid!() === 0 ? { uid: 65534, gid: 65534 } : {};
const PASSWORD = 'geheim-und-lang';
const PORT = 20_000 + (process.pid % 20_000);

let folder: string;
let server: ReturnType<typeof spawn>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tunesmith-postgres-'));
  if (user.uid) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  execFileSync(
    'sh',
    [
      '-c',
      `echo ${PASSWORD} > ${folder}/password && ${bin}/initdb -D ${data} -U ada -A scram-sha-256 --pwfile=${folder}/password -E UTF8 --locale=C`,
    ],
    {
      ...user,
      cwd: folder,
    },
  );
  server = spawn(
    join(bin, 'postgres'),
    ['-D', data, '-p', String(PORT), '-k', folder, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'],
    {
      ...user,
      cwd: folder,
      stdio: 'ignore',
    },
  );
  for (let tries = 0; ; tries++) {
    try {
      await sql('SELECT 1');
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}, 60_000);

afterAll(async () => {
  const ended = new Promise((resolve) => server.on('exit', resolve));
  server.kill('SIGINT');
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

async function sql(text: string): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port: PORT, user: 'ada', password: PASSWORD, database: 'postgres' });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}

const pipeline = (query: string) => `name: p
steps:
  collect:
    uses: collect
    with:
      sql:
        url: postgres://127.0.0.1:${PORT}/postgres
        query: ${JSON.stringify(query)}
`;

const WHO = { PGUSER: 'ada', PGPASSWORD: PASSWORD };

async function rowsOf(p: ReturnType<typeof project>, ...columns: string[]) {
  const rows = [];
  for await (const chunk of readRows(p.path('.tunesmith/outputs/p/collect/data'), columns)) rows.push(...chunk);
  return rows;
}

test('values of all usual types arrive as the database prints them', async () => {
  await sql(`DROP TABLE IF EXISTS kinds; CREATE TABLE kinds AS SELECT E'\\ufeff caf\\u00e9\\n"x"' AS text, '1.10' AS label, 1.10::numeric(9, 2) AS price,
    9007199254740993::bigint AS big, 7::int AS n, 1::float8 AS f, true AS yes, '2020-01-02'::date AS day, '2020-01-02 03:04:05+02'::timestamptz AS at,
    ARRAY['a,b', NULL, 'c"d'] AS list, ARRAY[1, 2] AS numbers, ARRAY[1.10, 2] AS prices, '{"k": [1.10]}'::jsonb AS doc, 'é'::bytea AS bytes, NULL::text AS nothing,
    'NaN'::float8 AS nan, '7d444840-9dc0-11d1-b245-5ffdce74fad2'::uuid AS uuid`);
  const p = project({ 'p.yaml': pipeline('SELECT * FROM kinds') }, WHO);
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
  expect(
    await rowsOf(
      p,
      'text',
      'label',
      'price',
      'big',
      'n',
      'f',
      'yes',
      'day',
      'at',
      'list',
      'numbers',
      'prices',
      'doc',
      'bytes',
      'nothing',
      'nan',
      'uuid',
    ),
  ).toEqual([
    {
      text: '\ufeff café\n"x"',
      label: '1.10',
      price: '1.10',
      big: '9007199254740993',
      n: 7,
      f: 1,
      yes: true,
      day: '2020-01-02',
      at: '2020-01-02 01:04:05+00',
      list: ['a,b', null, 'c"d'],
      numbers: [1, 2],
      prices: ['1.10', '2'],
      doc: { k: ['1.10'] },
      bytes: 'é',
      nothing: null,
      nan: null,
      uuid: '7d444840-9dc0-11d1-b245-5ffdce74fad2',
    },
  ]);
});

test('freshness depends on the content of the rows, not on their order nor on other tables', async () => {
  await sql(
    'DROP TABLE IF EXISTS mails; CREATE TABLE mails (id int, text text, label text, seen int); INSERT INTO mails SELECT i, $$t$$ || i, i % 2, 0 FROM generate_series(1, 5000) AS i',
  );
  const p = project({ 'p.yaml': pipeline('SELECT id, text, label FROM mails') }, WHO);
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'ran' });
  await sql('UPDATE mails SET seen = 1 WHERE id < 100');
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'fresh' });
  await sql("UPDATE mails SET text = 'other' WHERE id = 7");
  expect((await p.run('status', 'p.yaml')).screen).toMatch(/collect/);
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'ran' });
  await sql("UPDATE mails SET text = 't7' WHERE id = 7");
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'restored' });
  expect(await rowsOf(p, 'id')).toHaveLength(5000);
});

test('the password is in no file of the project, and the error for a wrong one does not contain it', async () => {
  const p = project({ 'p.yaml': pipeline("SELECT 'a' AS text") }, WHO);
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  await p.run('status', 'p.yaml');
  for (const file of p.find('.')) expect(readFileSync(p.path(file)).includes(PASSWORD)).toBe(false);
  const wrong = project({ 'p.yaml': pipeline("SELECT 'a' AS text") }, { PGUSER: 'ada', PGPASSWORD: 'falsch-und-lang' });
  const { code, screen } = await wrong.run('run', 'p.yaml', '--plain');
  expect(code).toBe(1);
  expect(screen).toContain('password authentication failed for user "ada"');
  expect(screen).toContain('PGPASSWORD');
  expect(screen).not.toContain('falsch-und-lang');
});

test('without a server or database, the hint is about the URL and not about the password', async () => {
  for (const [to, hint] of [
    [':1/postgres', 'Check the host and the port in the URL, and that the server is running.'],
    [`:${PORT}/nowhere`, 'Check the name of the database in the URL.'],
  ] as const) {
    const p = project({ 'p.yaml': pipeline("SELECT 'a' AS text").replace(`:${PORT}/postgres`, to) }, WHO);
    const { screen } = await p.run('run', 'p.yaml', '--plain');
    expect(screen).toContain(hint);
    expect(screen).not.toContain('PGPASSWORD');
  }
});

test("a query cannot write, and PostgreSQL's error messages are reported", async () => {
  await sql('DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 1 AS n');
  const failing = async (query: string) => (await project({ 'p.yaml': pipeline(query) }, WHO).run('run', 'p.yaml', '--plain')).screen;
  expect(await failing('DELETE FROM kept RETURNING n')).toContain('cannot execute DELETE in a read-only transaction');
  expect(await failing('SELECT nowhere FROM kept')).toContain('column "nowhere" does not exist');
  expect(await failing('SELECT 1 AS a, 2 AS a')).toContain('two columns have the name a');
});

test('half a million rows come through a cursor in constant memory', async () => {
  const query = "SELECT i AS id, repeat('word ', 20) || i AS text FROM generate_series(1, 500000) AS i";
  const p = project({ 'p.yaml': pipeline(query) }, { ...WHO, NODE_OPTIONS: '--max-old-space-size=96' });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
}, 300_000);
