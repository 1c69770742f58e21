/** Users interfere: inputs edited while a step reads them, outputs edited between runs, steps that write to their inputs. */
import { chmodSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expectEditNoticed, expectObjectsUnchanged } from '../../engine/chaos/interference.ts';
import { faulty, tree } from '../../engine/chaos/rig.ts';

test.each([
  ['a folder', 'data', 'two\n'],
  ['a glob', 'data/*.txt', 'two\n'],
  ['a file, and put back', 'data/in.txt', 'one\n'],
])('input edited while a step runs: %s: the result is not stored, and the next run is clean', (_, inputs, last) =>
  expectEditNoticed(inputs, last),
);

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

test('a step that writes to its input: the objects in a cache that is shared stay unchanged', () => expectObjectsUnchanged('shared'));
