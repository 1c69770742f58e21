/** A project of an unprivileged user, and runs of it that are killed while a step works on its output. */
import { expect } from 'vitest';
import { type Project, project } from '../../rig.ts';

export const isRoot = process.getuid?.() === 0;

export const step = (run: string, output: string) =>
  `steps: { a: { run: ${JSON.stringify(run)}, outputs: { o: ${JSON.stringify(output)} } } }`;

export const OTHER = step('echo other > ${{ outputs.o }}', 'other/o.txt');

export function unprivileged(files: Record<string, string>): Project {
  const p = project({ 'package.json': '{}', 'other.yaml': OTHER, ...files });
  p.unprivileged();
  return p;
}

/** Kills a run while its step works on the output, after `before` has put something in its place. */
export async function cutOff(
  p: Project,
  output: string,
  run = 'mkdir -p ${{ outputs.o }}; echo half > ${{ outputs.o }}/half; echo > begun; sleep 60',
) {
  p.write('p.yaml', step(run, output));
  const started = p.start('run', 'p.yaml', '--plain');
  await p.until(() => p.exists('begun'));
  started.kill('SIGKILL');
  await started.done;
  p.remove('begun');
}

/** Returns the notices. */
export async function othersRun(p: Project): Promise<string> {
  p.remove('other');
  const { code, screen, events } = await p.run('run', 'other.yaml', '--json');
  expect(screen).not.toContain('bug of its own');
  expect(code, screen).toBe(0);
  expect(p.read('other/o.txt')).toBe('other\n');
  return events.flatMap(({ type, message }) => (type === 'notice' ? [message] : [])).join('\n');
}
