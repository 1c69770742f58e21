/** Users interfere: inputs edited while a step reads them, outputs edited between runs, steps that write to their inputs. */
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { faulty, tree } from './rig.ts';

/** Reads its input twice and waits after each read for a signal. */
const SLOW = (inputs: string) => ({
  'package.json': '{}',
  'data/in.txt': 'one\n',
  'p.yaml': `
name: p
steps:
  slow:
    run: |
      cat data/in.txt > \${{ outputs.o }}
      echo > begun; until [ -e go ]; do sleep 0.02; done
      cat data/in.txt >> \${{ outputs.o }}
      echo > read; until [ -e end ]; do sleep 0.02; done
    inputs: { data: ${inputs} }
    outputs: { o: out/o.txt }
`,
});

test.each([
  ['a file', 'data/in.txt', 'two\n'],
  ['a folder', 'data', 'two\n'],
  ['a glob', 'data/*.txt', 'two\n'],
  ['a file, and put back', 'data/in.txt', 'one\n'],
  ['a folder, and put back', 'data', 'one\n'],
])('input edited while a step runs: %s: the result is not stored, and the next run is clean', async (_, inputs, last) => {
  const p = faulty(SLOW(inputs));
  const run = p.start('run', 'p.yaml', '--plain');
  await p.until(() => p.exists('begun'));
  p.write('data/in.txt', 'two\n');
  p.write('go', '');
  await p.until(() => p.exists('read'));
  p.write('data/in.txt', last);
  p.write('end', '');
  const { code, screen } = await run.done;
  expect(code).toBe(0);
  expect(screen.replace(/\s+/g, ' ')).toContain('changed while slow ran, so its result was not stored; the next run executes it again');
  expect((await p.states('p.yaml')).cells).toEqual({ slow: 'ran' });
  expect(p.read('out/o.txt')).toBe(last + last);
  expect((await p.states('p.yaml')).cells).toEqual({ slow: 'fresh' });
});

test('outputs edited between runs in every way: restored without running, and the edited files are saved', async () => {
  const p = faulty();
  await p.run('run', 'p.yaml');
  const clean = tree(p);
  const instead = (name: string, file: string) => {
    p.remove(name);
    p.write(file, 'mine\n');
  };
  const edits: [() => void, string[]][] = [
    [() => p.write('out/words.txt', 'mine\n'), ['mine\n']],
    [() => p.write('out/pages a/deep/1.txt', 'mine\n'), ['mine\n']],
    [() => p.write('out/pages a/added.txt', 'mine\n'), ['mine\n']],
    [() => p.remove('out/pages b/deep/empty'), []],
    [() => p.remove('out/pages b'), []],
    [() => p.remove('out'), []],
    [() => chmodSync(p.path('out/tool'), 0o644), []],
    [() => instead('out/words.txt', 'out/words.txt/now a folder'), ['mine\n']],
    [() => instead('out/pages a', 'out/pages a'), ['mine\n']],
    [() => p.write('.tunesmith/outputs/p/count/counted/0/1.txt', 'mine\n'), ['mine\n']],
  ];
  for (const [edit, mine] of edits) {
    edit();
    const { cells } = await p.states('p.yaml');
    expect(Object.values(cells), String(edit)).not.toContain('ran');
    expect(tree(p), String(edit)).toEqual(clean);
    const kept = p.find('.tunesmith/kept').map((file) => p.read(file));
    for (const text of mine) expect(kept, String(edit)).toContain(text);
    p.remove('.tunesmith/kept');
  }
});

test.each(['here', 'shared'])('a step that writes to its input: the objects in a cache that is %s stay unchanged', async (where) => {
  const files = {
    'package.json': '{}',
    'in.txt': 'source\n',
    'p.yaml': `
name: p
steps:
  made: { run: "mkdir -p \${{ outputs.o }}; cp \${{ inputs.data }} \${{ outputs.o }}/file", inputs: { data: in.txt }, outputs: { o: out/made } }
  spoils: { run: "chmod u+w \${{ steps.made.o }}/file; echo spoiled >> \${{ steps.made.o }}/file; cat \${{ steps.made.o }}/file > \${{ outputs.o }}", outputs: { o: out/spoils.txt } }
`,
  };
  const p = faulty(files);
  const cache = where === 'here' ? '.tunesmith' : 'cache';
  if (where === 'shared') p.env.TUNESMITH_CACHE = p.path('cache');
  const spoiled = await p.run('run', 'p.yaml', '--plain');
  expect(spoiled.screen.replace(/\s+/g, ' ')).toContain('changed while spoils ran, so its result was not stored');
  const objects = () =>
    p.find(`${cache}/objects`).map((name) => [name, readFileSync(p.path(name), 'utf8'), statSync(p.path(name)).mode & 0o777]);
  const before = objects();
  for (const [, text, mode] of before) {
    expect(text).not.toContain('spoiled');
    expect(mode).toBe(0o444);
  }
  // Each run gives the step the original input.
  expect((await p.states('p.yaml')).cells).toEqual({ made: 'restored', spoils: 'ran' });
  expect(p.read('out/spoils.txt')).toBe('source\nspoiled\n');
  expect(objects()).toEqual(before);
});
