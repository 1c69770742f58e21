/** Commands with thousands of paths: those that fit run, the others print a hint, and a list file always works. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

/** Together more than the two megabytes that Linux allows. */
const COUNT = 1200;
const FOLDER = `${'x'.repeat(240)}/`.repeat(8);

test('more than a thousand files: a command longer than one argument runs; one that is too long prints a hint', async () => {
  const files = Object.fromEntries(Array.from({ length: COUNT }, (_, n) => [`in/${FOLDER}${n}.txt`, `${n}\n`]));
  const p = project({
    'package.json': '{}',
    ...files,
    'p.yaml': `
steps:
  built: { run: "for f in \${{ inputs.all }}; do echo \\"$f\\"; done > \${{ outputs.o }}", inputs: { all: in/**/*.txt }, outputs: { o: out/built } }
  program: { run: "cat \${{ inputs.all }} > \${{ outputs.o }}", inputs: { all: in/**/*.txt }, outputs: { o: out/program } }
  list:
    run: ['xargs -0 cat < "$TUNESMITH_INPUTS/all.0" > \${{ outputs.o }}', 'cp "$TUNESMITH_INPUTS/all.txt" \${{ outputs.p }}']
    inputs: { all: in/**/*.txt }
    outputs: { o: out/list, p: out/names }
`,
  });
  const { cells, events } = await p.states('p.yaml', '--on-failure', 'continue');
  expect(cells).toEqual({ built: 'ran', program: 'failed', list: 'ran' });
  const { failure } = events.find(({ type, cell }) => type === 'cell' && cell === 'program');
  expect([failure.message, failure.hint]).toEqual([
    'a command has more arguments than this system allows',
    expect.stringContaining('xargs -0 PROGRAM < "$TUNESMITH_INPUTS/NAME.0"'),
  ]);
  const names = Object.keys(files).sort();
  expect(p.read('out/built')).toBe(names.map((name) => `${name}\n`).join(''));
  expect(p.read('out/names')).toBe(p.read('out/built'));
  expect(p.read('out/list')).toBe(names.map((name) => files[name]).join(''));
  expect(p.find('.tunesmith/work', { all: true })).toEqual([]);
});
