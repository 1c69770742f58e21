/** Databases with flipped bits. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { engine } from '../run/rig.ts';

export const PIPELINE = `
name: p
params: { n: 3 }
steps:
  words: { run: "sort \${{ inputs.words }} > \${{ outputs.list }}", inputs: { words: words/*.txt }, outputs: { list: out/words.txt } }
  pages:
    matrix: { letter: [a, b] }
    run: "mkdir -p \${{ outputs.pages }}/deep; cat \${{ steps.words.list }} > \${{ outputs.pages }}/deep/\${{ matrix.letter }}"
    outputs: { pages: "out/pages-\${{ matrix.letter }}" }
  count: { uses: ./count.mjs, with: { pages: "\${{ steps.pages[*].pages }}", n: "\${{ params.n }}" } }
`;
export const FILES = {
  'package.json': '{}',
  'words/one.txt': 'pear\napple\n',
  'words/two.txt': 'fig\n',
  'count.mjs': `import { readdirSync, writeFileSync } from 'node:fs';
export default {
  name: 'count', version: 1, options: { n: { type: 'number' } }, inputs: { pages: { kind: 'folder', many: true } }, outputs: { counted: 'file' },
  run({ inputs, outputs, options, metric }) {
    metric('pages', inputs.pages.length * options.n);
    writeFileSync(outputs.counted, inputs.pages.map((folder) => readdirSync(folder).join()).join());
  },
};`,
};

/** The mulberry32 generator, for reproducible numbers. */
function drawing(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Flips bits in used pages, because most of a small database is empty. */
export function flip(bytes: Buffer, seed: number): Buffer {
  const draw = drawing(seed);
  const flipped = Buffer.from(bytes);
  const written = [...bytes.keys()].filter((at) => bytes[at] !== 0);
  for (let n = draw(3); n >= 0; n--) flipped[written[draw(written.length)]!]! ^= 1 << draw(8);
  return flipped;
}

/** Flips bits in each database, so many times: every later run makes the outputs of a clean run, or reports what to do. */
export async function expectFlipsDetected(seeds: number): Promise<void> {
  const p = engine(PIPELINE, FILES);
  await p.go();
  await p.go({ set: ['n=4'] });
  await p.go();
  const own = p.path('.tunesmith');
  const lock = p.read('p.lock');
  const outputs = () => Object.fromEntries(p.find('out').map((name) => [name, p.read(name)]));
  const clean = outputs();
  const whole = Object.fromEntries(['index.sqlite', 'state.sqlite'].map((name) => [name, readFileSync(join(own, name))]));
  const reset = () => {
    for (const name of readdirSync(own)) if (/\.sqlite/.test(name)) rmSync(join(own, name));
    for (const [name, bytes] of Object.entries(whole)) writeFileSync(join(own, name), bytes);
  };
  const ends = new Map<string, number>();
  const count = (end: string) => ends.set(end, (ends.get(end) ?? 0) + 1);
  for (const [name, bytes] of Object.entries(whole)) {
    for (let seed = 1; seed <= seeds; seed++) {
      reset();
      writeFileSync(join(own, name), flip(bytes, seed));
      if (seed % 3 === 0) p.remove('out');
      for (const work of [p.plan, p.go, () => p.go({ set: ['n=4'] })] as (() => Promise<Partial<Awaited<ReturnType<typeof p.go>>>>)[]) {
        try {
          const done = await work();
          if (done.failures) {
            for (const { message, hint } of Object.values(done.failures)) {
              expect({ message, hint }, `${name}, seed ${seed}`).toMatchObject({ message: expect.not.stringContaining('bug of its own') });
              expect(hint, `${name}, seed ${seed}: ${message}`).toMatch(/Move it away|move it away/);
            }
            for (const { value } of done.of!('metric')) expect([6, 8], `${name}, seed ${seed}`).toContain(value);
            count(Object.keys(done.failures).length > 0 ? 'failed' : 'ran');
          }
        } catch (error) {
          const { message, hint = '', stack } = error as Error & { hint?: string };
          expect(hint, `${name}, seed ${seed}: ${message} ${stack}`).toMatch(/[Mm]ove it away/);
          count('refused');
          break;
        }
        const now = p.read('p.lock');
        if (now !== lock)
          expect(now.replace(/^count:\n.*\n.*\n.*\n/m, ''), `${name}, seed ${seed}`).toBe(lock.replace(/^count:\n.*\n.*\n.*\n/m, ''));
      }
      // After following the hint, the run is like a clean run.
      reset();
      await p.go();
      expect(p.read('p.lock'), `${name}, seed ${seed}`).toBe(lock);
      expect(outputs(), `${name}, seed ${seed}`).toEqual(clean);
    }
  }
  expect(ends.get('ran')).toBeGreaterThan(seeds);
}
