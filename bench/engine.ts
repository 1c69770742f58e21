/**
 * Compares the engine with other incremental tools: the same commands on the same files, two tools at a time,
 * alternating. Prints a Markdown table: median and p95 of wall time, CPU time, the memory of the largest process, and the
 * number of executed cells.
 *
 * npm run bench:engine -- [--rounds 10] [--rows 'chain 100:;1 GB'] [--tools tunesmith,ninja] [--limit 180]
 *
 * `--rounds 0` only prepares the rows that need no clean start, which can be done before the machine is quiet. The other
 * tools come from PyPI and npm and are installed into the user's cache folder (or TUNESMITH_BENCH_HOME). A tool that is
 * not available is left out and reported. A command that takes longer than the limit in seconds is stopped, and the table
 * shows how far it got.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Cell, home, type Shape, type Tool, tools } from './engine-tools.ts';

interface Row {
  name: string;
  shape: Shape;
  /** Files of the user before any run. */
  files(folder: string): void;
  /** Prepares each measured run. The preparation of the first one may run the tool. */
  before: 'anew' | 'nothing' | ((folder: string, round: number, run: () => void) => void);
  /** Expected number of executed cells. */
  minimum: number;
  plan?: boolean;
  /** A minimal program with the same effect, as a baseline. */
  floor?: [string, ...string[]];
}

interface Measured {
  seconds: number;
  /** CPU time of all cores, which varies less than wall time on a shared machine. */
  busy: number;
  megabytes: number;
  executed: number;
  ended: boolean;
}

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    rows: { type: 'string', default: '' },
    tools: { type: 'string', default: '' },
    limit: { type: 'string', default: '180' },
  },
});

/** The largest process, because the workers of a tool share memory. */
const METER = `
import os, resource, signal, subprocess, sys, threading, time
began = time.perf_counter()
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
limit = threading.Timer(float(sys.argv[1]), os.killpg, (child.pid, signal.SIGKILL))
limit.start()
# With a limit of its own it would look every 50 ms.
child.wait()
took = time.perf_counter() - began
ended = limit.is_alive()
limit.cancel()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(took, used.ru_utime + used.ru_stime, used.ru_maxrss, int(ended))
`;

const DONE = ' && echo >> runs';

function chain(count: number): Shape {
  const file = (n: number) => (n === 0 ? 'in.txt' : `s/${n}.txt`);
  return {
    cells: Array.from({ length: count }, (_, index): Cell => {
      const n = index + 1;
      // The first cell does not depend on the order of lines.
      const command = `${n === 1 ? 'sort' : `sed s/a/${n}/`} ${file(n - 1)} > ${file(n)}${DONE}`;
      return { name: `s${n}`, command, reads: [file(n - 1)], writes: file(n), after: n === 1 ? [] : [`s${n - 1}`] };
    }),
  };
}

function fan(count: number): Shape {
  const leaf = (n: number): Cell => ({
    name: `leaf${n}`,
    command: `sed s/a/b/ in/${n}.txt > o/${n}.txt${DONE}`,
    reads: [`in/${n}.txt`],
    writes: `o/${n}.txt`,
    after: [],
  });
  const leaves = Array.from({ length: count }, (_, n) => leaf(n + 1));
  const join: Cell = {
    name: 'join',
    command: `cat o/*.txt > all.txt${DONE}`,
    reads: leaves.map(({ writes }) => writes),
    writes: 'all.txt',
    after: leaves.map(({ name }) => name),
  };
  return {
    cells: [...leaves, join],
    each: { count, command: `sed s/a/b/ in/%.txt > o/%.txt${DONE}`, reads: 'in/%.txt', writes: 'o/%.txt', join },
  };
}

function one(command: string, reads: string[]): Shape {
  return { cells: [{ name: 'one', command: `${command} > o/one${DONE}`, reads, writes: 'o/one', after: [] }] };
}

const text = (round: number) => [...'abcdefgh'].map((word) => `${word} ${round}\n`);
const shuffled = (all: string[]) =>
  all
    .map((line) => ({ line, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ line }) => line);
const chainFiles = (folder: string) => writeFileSync(join(folder, 'in.txt'), text(0).join(''));
const fanFiles = (count: number) => (folder: string) => {
  for (let n = 1; n <= count; n++) writeFileSync(join(folder, `in/${n}.txt`), `banana ${n}\n`);
};
const big = (folder: string) => {
  const block = randomBytes(16 << 20);
  const file = openSync(join(folder, 'in/big'), 'w');
  for (let n = 0; n < 64; n++) writeSync(file, block);
  closeSync(file);
};
const small = (folder: string) => {
  for (let n = 0; n < 15_000; n++) writeFileSync(join(folder, `in/${n}`), `${n}\n`);
};

const sizeOfBig = one('wc -c < in/big', ['in/big']);
const countOfSmall = one('ls in | wc -l', ['in']);
const nothing = { before: 'nothing', minimum: 0 } as const;

const ROWS: Row[] = [
  ...[1, 10, 100, 1000].flatMap((count): Row[] => {
    const common = { shape: chain(count), files: chainFiles };
    return [
      { name: `chain ${count}: cold`, ...common, before: 'anew', minimum: count },
      { name: `chain ${count}: no-op`, ...common, ...nothing },
      {
        name: `chain ${count}: root reordered`,
        ...common,
        // A new order each time, because otherwise an earlier result would match.
        before: (folder) => writeFileSync(join(folder, 'in.txt'), shuffled(text(0)).join('')),
        minimum: 1,
      },
      {
        name: `chain ${count}: reverted`,
        ...common,
        before(folder, round, run) {
          writeFileSync(join(folder, 'in.txt'), text(round + 1).join(''));
          run();
          chainFiles(folder);
        },
        minimum: 0,
      },
    ];
  }),
  ...[100, 1000].flatMap((count): Row[] => {
    const common = { shape: fan(count), files: fanFiles(count) };
    return [
      { name: `fan-out, join ${count}: cold`, ...common, before: 'anew', minimum: count + 1 },
      { name: `fan-out, join ${count}: no-op`, ...common, ...nothing },
      {
        name: `fan-out, join ${count}: one leaf changed`,
        ...common,
        before: (folder, round) => writeFileSync(join(folder, 'in/7.txt'), `banana, round ${round}, ${Date.now()}\n`),
        minimum: 2,
      },
    ];
  }),
  { name: 'fan-out, join 10000: no-op', shape: fan(10_000), files: fanFiles(10_000), ...nothing },
  { name: 'matrix of 256: plan', shape: fan(256), files: fanFiles(256), before: 'nothing', minimum: 0, plan: true },
  { name: '1 GB: cold', shape: sizeOfBig, files: big, before: 'anew', minimum: 1, floor: ['sha256sum', 'in/big'] },
  { name: '1 GB: no-op', shape: sizeOfBig, files: big, ...nothing },
  { name: '15,000 files: cold', shape: countOfSmall, files: small, before: 'anew', minimum: 1 },
  { name: '15,000 files: no-op', shape: countOfSmall, files: small, ...nothing },
];

const racers = tools.filter((tool) => {
  if (flags.tools && !flags.tools.split(',').some((name) => name.toLowerCase() === tool.name.toLowerCase())) return false;
  try {
    tool.install();
    return true;
  } catch (error) {
    console.error(`${tool.name} is left out: ${(error as Error).message.split('\n', 1)[0]}`);
    return false;
  }
});

const lines: string[][] = [];
for (const row of ROWS.filter(({ name }) => flags.rows.split(';').some((part) => name.includes(part)))) {
  const line = [row.name];
  for (const tool of racers) line.push(race(row, tool));
  if (row.floor)
    line[0] += ` (${row.floor[0]}: ${shown(
      repeated(() => measured(row.floor!, folderOf(row, racers[0]!), {})),
      0,
    )})`;
  lines.push(line);
  console.error(line.join(' | ')); // so far
}
console.log(`${cpus()[0]!.model.trim()}, ${availableParallelism()} threads, ${new Date().toISOString().slice(0, 10)}\n`);
const head = ['', ...racers.map(({ name }) => name)];
console.log([head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n'));

/** The project of a tool for rows with the same shape. */
function folderOf(row: Row, tool: Tool): string {
  return join(home, 'work', `${row.name.split(':')[0]!.replaceAll(/[^\w]+/g, '-')}-${tool.name}`);
}

function race(row: Row, tool: Tool): string {
  const command = row.plan ? tool.plan : tool.run;
  if (!command) return '–';
  const folder = folderOf(row, tool);
  const run = () => measured(command, folder, tool.env);
  // The state that an earlier row with the same shape left can be reused, if `ready` shows that the row finished.
  const ready = join(folder, 'ready');
  const failed = (how: Measured) => `${how.ended ? 'failed' : `ended at ${flags.limit} s`}: ${how.executed} of ${row.shape.cells.length}`;
  if (!existsSync(ready)) {
    begin(row, tool, folder);
    if (!row.plan && row.before !== 'anew') {
      const first = run();
      if (first.executed < row.shape.cells.length) return failed(first);
    }
    if (row.before !== 'anew') writeFileSync(ready, '');
  }
  if (typeof row.before === 'function') {
    row.before(folder, -1, run);
    run();
  }
  const all: Measured[] = [];
  for (let round = 0; round < Number(flags.rounds); round++) {
    if (row.before === 'anew') begin(row, tool, folder);
    else if (row.before !== 'nothing') row.before(folder, round, run);
    const one = run();
    if (!one.ended || (row.before === 'anew' && one.executed < row.minimum)) return failed(one);
    if (row.before === 'anew') writeFileSync(ready, '');
    all.push(one);
  }
  return shown(all, row.minimum);
}

/** A state without any run. The user's files stay, because creating a gigabyte each time would measure the disk. */
function begin(row: Row, tool: Tool, folder: string): void {
  for (const part of [...tool.state, 'ready', 's', 'o', 'all.txt'])
    rmSync(join(folder, part), { recursive: true, force: true, maxRetries: 3 });
  for (const part of ['s', 'o', 'in']) mkdirSync(join(folder, part), { recursive: true });
  const described = join(folder, 'described');
  if (existsSync(described)) return;
  writeFileSync(join(folder, 'package.json'), '{}');
  row.files(folder);
  tool.describe(folder, row.shape);
  writeFileSync(described, '');
}

function repeated(run: () => Measured): Measured[] {
  return Array.from({ length: Number(flags.rounds) }, run);
}

function measured(command: string[], folder: string, env: Record<string, string> = {}): Measured {
  const runs = join(folder, 'runs');
  rmSync(runs, { force: true });
  const { stdout, stderr } = spawnSync('python3', ['-c', METER, flags.limit!, ...command], {
    cwd: folder,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  const [seconds, busy, kilobytes, ended] = stdout.trim().split(' ').map(Number);
  if (ended === undefined) throw new Error(`cannot measure ${command[0]}: ${stderr}`);
  return {
    seconds: seconds!,
    busy: busy!,
    megabytes: kilobytes! / 1024,
    executed: existsSync(runs) ? readFileSync(runs, 'utf8').length : 0,
    ended: ended === 1,
  };
}

/** `0.21 (0.24) s, 0.30 s busy, 85 MB`, and the number of executed cells if it is not the expected one. */
function shown(all: Measured[], minimum: number): string {
  if (all.length === 0) return 'ready';
  const at = (share: number, key: 'seconds' | 'busy') => {
    const sorted = all.map((one) => one[key]).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
  };
  const figure = (value: number) => value.toFixed(value < 1 ? 3 : value < 10 ? 2 : 1);
  const executed = Math.max(...all.map((one) => one.executed));
  const more = executed === minimum ? '' : `, ${executed} executed`;
  const times = `${figure(at(0.5, 'seconds'))} (${figure(at(0.95, 'seconds'))}) s, ${figure(at(0.5, 'busy'))} s busy`;
  return `${times}, ${Math.round(Math.max(...all.map((one) => one.megabytes)))} MB${more}`;
}
