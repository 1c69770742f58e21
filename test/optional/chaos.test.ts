/**
 * Kills and full disks at instants throughout a run, and sixty kills of the engine and its children at random points of
 * runs, restores and recoveries: afterwards an undisturbed run makes what a clean run makes. A failure of the random ones
 * prints the seed and the actions.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FULL_EVERY, fullFrom, KILLS, killedAt } from '../engine/chaos/instants.ts';
import { FILES, faulty, instants, type Project, plug, tree, unplugged } from '../engine/chaos/rig.ts';

const WORDS = ['pear\napple\n', 'quince\n', 'plum\nlime\ncherry\n', ''];
const TIMES = 30;

test(`${2 * TIMES} kills at random points: the next run makes what a clean run makes`, async () => {
  // Two projects at a time, one per core.
  await Promise.all([1, 2].map(upsets));
});

test.each(KILLS)('%s, at instants throughout a run that %s what replaces other outputs', (what, how) => killedAt(what, how));

test('a disk that is full from any instant on: reported, not as a bug; the next run is clean', () => fullFrom(FULL_EVERY));

test('a folder of 15,000 files', async () => {
  const p = faulty({
    'package.json': '{}',
    'p.yaml': `
name: p
steps:
  many: { run: "mkdir -p \${{ outputs.o }}/a \${{ outputs.o }}/b; seq 15000 | split -l 1 -a 4 - \${{ outputs.o }}/a/; seq 10 > \${{ outputs.o }}/b/x", outputs: { o: out/many } }
  count: { run: "ls \${{ steps.many.o }}/a | wc -l > \${{ outputs.o }}", outputs: { o: out/count } }
`,
  });
  expect((await p.states('p.yaml')).cells).toEqual({ many: 'ran', count: 'ran' });
  expect(p.read('out/count').trim()).toBe('15000');
  expect((await p.states('p.yaml')).cells).toEqual({ many: 'fresh', count: 'fresh' });
  p.write('out/many/a/aaab', 'edited');
  p.write('out/many/a/added', '');
  expect((await p.states('p.yaml')).cells).toEqual({ many: 'restored', count: 'fresh' });
  expect(p.read('out/many/a/aaab')).toBe('2\n');
  expect(p.find('out/many')).toHaveLength(15_001);
});

test('an output of 10 GB is hashed, stored and restored in little memory', async () => {
  const p = faulty({
    'package.json': '{}',
    'p.yaml': `
name: p
steps:
  large: { run: "echo start > \${{ outputs.o }}; truncate -s 10G \${{ outputs.o }}; echo end >> \${{ outputs.o }}", outputs: { o: out/large } }
`,
  });
  expect(await peakOf(p)).toBeLessThan(300);
  expect(p.stat('out/large').size).toBe(10 * 2 ** 30 + 4);
  expect(await peakOf(p)).toBeLessThan(300);
  p.remove('out');
  expect(await peakOf(p)).toBeLessThan(300);
  const { size, blocks } = p.stat('out/large');
  expect(size).toBe(10 * 2 ** 30 + 4);
  expect(blocks * 512).toBeLessThan(1 << 20);
  const run = await p.states('p.yaml');
  expect(run.cells).toEqual({ large: 'fresh' });
});

/** Runs the pipeline; returns the engine's peak memory in megabytes. */
async function peakOf(p: Project): Promise<number> {
  const run = p.start('run', 'p.yaml', '--plain');
  let peak = 0;
  const looking = setInterval(() => {
    const status = attempt(() => readFileSync(`/proc/${run.pid}/status`, 'utf8')) ?? '';
    peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  }, 20);
  const { code, screen } = await run.done;
  clearInterval(looking);
  expect(code, screen).toBe(0);
  expect(peak).toBeGreaterThan(0);
  return peak;
}

async function upsets(seed: number): Promise<void> {
  const draw = random(seed);
  const pick = <T>(from: readonly T[]) => from[Math.floor(draw() * from.length)]!;
  const clean = new Map<string, Record<string, string>>();
  let most = 0;
  for (const words of WORDS) {
    const p = faulty({ ...FILES, 'words/one.txt': words });
    most = Math.max(most, await instants(p));
    clean.set(words, tree(p));
  }

  const p = faulty();
  const story = [`seed ${seed}`];
  let words = WORDS[0]!;
  for (let kills = 0; kills < TIMES; ) {
    const upset = pick(['words', 'words', 'words', 'output', 'edit', 'objects', 'all'] as const);
    if (upset === 'words') words = pick(WORDS);
    p.write('words/one.txt', words);
    if (upset === 'output') p.remove('out');
    if (upset === 'edit') p.write('out/words.txt', `edited ${kills}\n`);
    if (upset === 'objects') p.remove('.tunesmith/objects');
    if (upset === 'all') p.remove('.tunesmith');
    story.push(`upset: ${upset}`);
    // Once, or several times in a row: a recovery is killed as well.
    for (const times = 1 + Math.floor(draw() * 3), last = kills + times; kills < last; kills++) {
      const how = pick(['instant', 'power', 'engine', 'child', 'all'] as const);
      story.push(how);
      if (how === 'instant' || how === 'power') {
        Object.assign(p.env, plug(how === 'power' ? 'power' : 'kill', 1 + Math.floor(draw() * most)));
        // It ends by itself if it has less to do than that.
        expect([0, 137], story.join(', ')).toContain((await p.run('run', 'p.yaml', '--plain')).code);
        Object.assign(p.env, unplugged);
      } else await killAfter(p, 100 + draw() * 900, how);
    }
    const { code, screen } = await p.run('run', 'p.yaml', '--plain');
    expect(code, `${story.join(', ')}\n${screen}`).toBe(0);
    expect(tree(p), story.join(', ')).toEqual(clean.get(words));
    expect(p.find('.tunesmith/work', { all: true })).toEqual([]);
    expect(p.find('.tunesmith/tmp', { all: true })).toEqual([]);
    story.splice(1);
  }
}

/** The engine alone, one of its processes alone, or all of them at once. */
async function killAfter(p: Project, ms: number, whom: 'engine' | 'child' | 'all'): Promise<void> {
  const run = p.start('run', 'p.yaml', '--plain');
  await Promise.race([sleep(ms), run.done]);
  const below = descendants(run.pid);
  // A child's death fails its cell, or its retry takes over.
  const victims = whom === 'engine' ? [run.pid] : whom === 'child' ? below.slice(-1) : [run.pid, ...below];
  for (const pid of victims) attempt(() => process.kill(pid, 'SIGKILL'));
  await run.done;
}

/** Includes those in sessions of their own; children after their parents. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = attempt(() => readFileSync(`/proc/${name}/stat`, 'utf8'));
    if (stat !== undefined) parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const of = (parent: number): number[] => [...parents].flatMap(([child, its]) => (its === parent ? [child, ...of(child)] : []));
  return of(pid);
}

/** Undefined if the process has just ended. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
