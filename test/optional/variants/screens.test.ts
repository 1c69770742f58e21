/** Screens with control characters, very long lines, many cells and results. */
import { expect, test } from 'vitest';
import { type Project, project } from '../../rig.ts';
import { terminal } from '../../terminal.ts';

test('many fresh cells are one line, on a terminal too, and start no live view', async () => {
  const p = project({
    'p.yaml': `name: many
steps:
  a: { matrix: { i: [${Array.from({ length: 60 }, (_, i) => i).join(', ')}] }, run: "echo > \${{ outputs.o }}", outputs: { o: "o/\${{ matrix.i }}" } }
  z: { run: "cat \${{ steps.a[*].o }} > \${{ outputs.o }}", outputs: { o: all } }
`,
  });
  await p.states('p.yaml');
  Object.assign(p.env, terminal(p, 80, 24));
  expect((await p.run('run', 'p.yaml')).screen).toBe('many: 61 fresh · <time>\n\noutput: all\n');
});

const ESCAPE = '\\x1b[31m';

/** All colours except red, which names below contain. */
const OUR_COLORS = /\p{Cc}\[(?!31m)[\d;]*m/gu;

test('control characters in names, messages and data are escaped, with and without colours', async () => {
  const p: Project = project({
    'p.yaml': 'name: "a\\e[31mb\\u202e"\nsteps: { s: { run: "echo > ${{ outputs.o }}", outputs: { o: "out/x\\e[31m" } } }\n',
    'bad.yaml': 'steps: {"a\\e[31m": { run: "echo" }}\n',
    'rows.jsonl': `${JSON.stringify({ text: 'red \u001b[31m \u009b2J \u0007', 'n\u001b[0m': 1 })}\n`,
  });
  for (const color of [undefined, '1']) {
    p.env.FORCE_COLOR = color;
    const bare = (text: string) => expect(text.replace(OUR_COLORS, '')).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
    const ran = await p.run('run', 'p.yaml', ...(color ? [] : ['--force']));
    expect(ran.stdout).toContain(`a${ESCAPE}b\\u202e`);
    expect(ran.stdout).toContain(`output: out/x${ESCAPE}`);
    for (const words of [
      ['run', 'p.yaml'],
      ['status', 'p.yaml'],
      ['explain', 'p.yaml', 's'],
      ['runs'],
      ['runs', 'show', '1'],
      ['runs', 'diff'],
      ['graph', 'p.yaml', '--format', 'dot'],
      ['show', 'rows.jsonl'],
      ['cache', 'ls'],
      ['run', 'p.yaml', '--json'],
    ]) {
      const { stdout, stderr, code } = await p.run(...words);
      expect(code, words.join(' ')).toBe(0);
      bare(stdout + stderr);
    }
    const wrong = await p.run('validate', 'bad.yaml');
    expect(wrong.stderr).toContain(ESCAPE);
    bare(wrong.stderr.replaceAll('\u001b[31m\u001b[1merror', '').replaceAll('\u001b[31m^', ''));
    const absent = await p.run('predict', 'no\u001b[31mmodel', 'x');
    expect(absent.stderr).toContain(ESCAPE);
  }
  expect((await p.run('show', 'rows.jsonl')).stdout).toContain(`red ${ESCAPE} \\x9b2J \\x07`);
});

test('very long lines are cut on the screen, and the log has them in full', async () => {
  const p = project({
    'p.yaml': 'steps: { a: { uses: ./long.ts } }\n',
    'long.ts': `import { defineStep, StepError } from 'tunesmith';
export default defineStep({
  name: 'long', version: 1, outputs: { o: 'file' },
  run({ log, warn }) {
    console.error('x'.repeat(4_000_000));
    log('l'.repeat(1_000_000));
    warn('w'.repeat(1_000_000));
    throw new StepError('m'.repeat(1_000_000), 'h'.repeat(1_000_000));
  },
});
`,
  });
  for (const columns of [undefined, 80]) {
    if (columns) Object.assign(p.env, terminal(p, columns, 24));
    const { stdout, code } = await p.run('run', 'p.yaml');
    expect(code).toBe(1);
    expect(stdout.length).toBeLessThan(30_000);
    expect(stdout).toMatch(/│ x{240}… \([\d,]+ more characters: see the log\)/);
    expect(stdout).toMatch(/m{2000}… \(998,000 more characters: see the log\)/);
    expect(stdout).toMatch(/log: \.tunesmith\/logs\/\d\/a\.log/);
  }
  expect(p.stat('.tunesmith/logs/1/a.log').size).toBeGreaterThan(5_000_000);
  for (const words of [
    ['runs', 'show'],
    ['explain', 'a'],
  ])
    expect((await p.run(...words)).stdout.length).toBeLessThan(10_000);
});

const SAYS = `import { writeFile } from 'node:fs/promises';
import { defineStep } from 'tunesmith';
export default defineStep({
  name: 'choose', version: 1,
  options: { of: { type: 'integer' }, every: { type: 'integer', default: 10, fingerprint: false } },
  outputs: { choice: 'file' },
  async run({ options, outputs, result }) {
    result('the first of ' + options.of);
    await writeFile(outputs.choice!, 'first');
  },
});
`;

test('a result line is printed with the cell and below the summary, also if the cell is fresh', async () => {
  const p = project({ 'p.yaml': 'name: p\nsteps: { pick: { uses: ./choose.ts, with: { of: 3 } } }\n', 'choose.ts': SAYS });
  const told = `p: 1 STATE · <time>\n\npick: the first of 3\n\noutput: .tunesmith/outputs/p/pick/choice\n`;
  expect((await p.run('run', 'p.yaml')).screen).toBe(
    `pick: running (first run)\npick: ran in <time>: the first of 3\n${told.replace('STATE', 'ran')}`,
  );
  expect((await p.run('run', 'p.yaml')).screen).toBe(told.replace('STATE', 'fresh'));
  expect((await p.run('runs', 'show', '1')).stdout).toContain('\npick: the first of 3\n');
  // An option with \`fingerprint: false\` reruns nothing and is not part of explain.
  p.write('p.yaml', 'name: p\nsteps: { pick: { uses: ./choose.ts, with: { of: 3, every: 1 } } }\n');
  expect((await p.states('p.yaml')).cells).toEqual({ pick: 'fresh' });
  expect((await p.run('explain', 'pick')).stdout).not.toContain('option every');
  p.write('p.yaml', 'name: p\nsteps: { pick: { uses: ./choose.ts, with: { of: 4, every: 2 } } }\n');
  const { events } = await p.states('p.yaml');
  expect(events).toContainEqual({ type: 'result', cell: 'pick', message: 'the first of 4' });
  expect(events.find(({ type }) => type === 'running').why).toBe('option of: 3 → 4');
});
