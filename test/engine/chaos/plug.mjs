/**
 * Loaded into the real CLI by tests (`NODE_OPTIONS=--import=…/plug.mjs`): counts all that changes the disk or the databases,
 * and at instant number PLUG_AT does what PLUG says:
 *
 *   kill    SIGKILL, right before the change
 *   power   the same, and what was not flushed by then is lost: bytes of objects, and names in the folders of objects
 *   full    the disk is full from here on: whatever wants to write fails with ENOSPC
 *   count   nothing; the number of instants is written to the file PLUG_COUNT when the process ends
 */
import fs from 'node:fs';
import fsp from 'node:fs/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { dirname, sep } from 'node:path';

const { PLUG, PLUG_AT, PLUG_COUNT } = process.env;
const original = { ...fs, open: fsp.open };
const at = Number(PLUG_AT);
let instant = 0;

/** Objects whose bytes, and whose names, a power loss would take. */
const dirty = new Set();
const unnamed = new Set();
const matters = (path) => String(path).includes(`${sep}objects`) || String(path).includes(`${sep}tmp${sep}.tunesmith-`);

function before(writes) {
  instant++;
  if (PLUG === 'full') {
    if (writes && instant >= at) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', errno: -28 });
  } else if (PLUG !== 'count' && instant === at) {
    if (PLUG === 'power') {
      for (const path of dirty) if (original.existsSync(path)) empty(path);
      for (const path of unnamed) original.rmSync(path, { recursive: true, force: true });
    }
    process.kill(process.pid, 'SIGKILL');
    for (;;);
  }
}

function empty(path) {
  original.chmodSync(path, 0o644);
  original.truncateSync(path, 0);
}

function renamed(from, to) {
  if (!matters(to)) return;
  if (dirty.delete(from)) dirty.add(to);
  unnamed.add(to);
}

/** `remember` hears of a change that was made. */
function patch(name, writes, remember = () => {}) {
  const own = fs[name];
  fs[name] = (...args) => {
    before(writes);
    const result = own(...args);
    remember(...args);
    return result;
  };
  const promised = fsp[name.replace(/Sync$/, '')];
  fsp[name.replace(/Sync$/, '')] = async (...args) => {
    before(writes);
    const result = await promised(...args);
    remember(...args);
    return result;
  };
}

patch('renameSync', false, renamed);
patch('rmSync', false);
patch('mkdirSync', true, (path) => matters(path) && !path.endsWith('objects') && unnamed.add(path));
patch('symlinkSync', true);
patch('utimesSync', false);
patch('chmodSync', false);
patch('copyFileSync', true, (_, to) => matters(to) && dirty.add(to));
patch('writeFileSync', true, (path) => matters(path) && dirty.add(path));
const { openSync, writeSync } = fs;
fs.openSync = (path, flags, ...rest) => {
  const fd = openSync(path, flags, ...rest);
  if (String(flags).includes('w') && matters(path)) dirty.add(path);
  return fd;
};
fs.writeSync = (...args) => {
  before(true);
  return writeSync(...args);
};
fsp.open = async (path, ...rest) => {
  const handle = await original.open(path, ...rest);
  const sync = handle.sync.bind(handle);
  handle.sync = async () => {
    before(false);
    await sync();
    dirty.delete(path);
    for (const name of unnamed) if (dirname(name) === path) unnamed.delete(name);
  };
  return handle;
};
syncBuiltinESMExports();

const Sqlite = createRequire(new URL('../../../package.json', import.meta.url))('better-sqlite3');
const { prepare } = Sqlite.prototype;
Sqlite.prototype.prepare = function (sql) {
  const statement = prepare.call(this, sql);
  const { run } = statement;
  statement.run = (...args) => {
    // A full disk is SQLite's to find out: it writes past these functions.
    before(false);
    return run.apply(statement, args);
  };
  return statement;
};

if (PLUG === 'count') process.on('exit', () => original.writeFileSync(PLUG_COUNT, String(instant)));
