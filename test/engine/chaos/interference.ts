/** Users and steps that interfere with inputs. */
import { readFileSync, statSync } from 'node:fs';
import { expect } from 'vitest';
import { faulty } from './rig.ts';

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

/** An input is edited while a step reads it, and ends with the content `last`. */
export async function expectEditNoticed(inputs: string, last: string): Promise<void> {
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
}

/** A step writes to its input, and the cache is in the project or shared. */
export async function expectObjectsUnchanged(where: 'here' | 'shared'): Promise<void> {
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
}
