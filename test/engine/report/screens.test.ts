/** The screens of a run: plain lines, and the live view on a terminal. */
import { expect, test } from 'vitest';
import { normalized, type Project, project } from '../../rig.ts';
import { screenOf, terminal } from '../../terminal.ts';

const STEP = `import { writeFile } from 'node:fs/promises';
import { defineStep } from 'tunesmith';
export default defineStep({
  name: 'fit', version: 1,
  options: { rate: { type: 'number' }, pause: { type: 'integer', default: 0 } },
  outputs: { model: 'file' },
  async run({ options, outputs, progress, metric, log, warn }) {
    for (let i = 1; i <= 4; i++) {
      progress(i, 4, { loss: 1 / i, 'tokens/s': 5210.4 });
      metric('loss', 1 / i, i);
      await new Promise((resolve) => setTimeout(resolve, options.pause));
    }
    log('fitted');
    warn('the data are few');
    metric('accuracy', 1 - options.rate, { better: 'higher' });
    metric('loss', 0.1 + options.rate / 3, { better: 'lower' });
    await writeFile(outputs.model!, String(options.rate));
  },
});
`;

const FIT = `name: demo
params: { pause: 0 }
steps:
  words: { run: "printf 'b\\na\\n' > \${{ outputs.list }}", outputs: { list: out/words.txt } }
  fit:
    uses: ./fit.ts
    matrix: { rate: [0.5, 0.25] }
    with: { rate: "\${{ matrix.rate }}", pause: "\${{ params.pause }}" }
    needs: words
`;

test('a first run, a second run, and one with a deleted output: plain', async () => {
  const p = project({ 'p.yaml': FIT, 'fit.ts': STEP });
  const figures = `
fit
rate  accuracy      loss
0.50      0.50    0.2667
0.25      0.75 *  0.1833 *
`;
  const outputs = `
output: out/words.txt
        .tunesmith/outputs/demo/fit[rate=0.5]/model
        .tunesmith/outputs/demo/fit[rate=0.25]/model
`;
  expect((await p.run('run', 'p.yaml', '-j', '1')).screen).toBe(`words: running (first run)
words: ran in <time>
fit[rate=0.5]: running (first run)
fit[rate=0.5]: fitted
fit[rate=0.5]: the data are few
fit[rate=0.5]: ran in <time>: accuracy 0.5, loss 0.2667
fit[rate=0.25]: running (first run)
fit[rate=0.25]: fitted
fit[rate=0.25]: the data are few
fit[rate=0.25]: ran in <time>: accuracy 0.75, loss 0.1833
demo: 3 ran · <time>
${figures}
note: fit[rate=0.5], fit[rate=0.25]: the data are few
${outputs}`);

  expect((await p.run('run', 'p.yaml')).screen).toBe(`demo: 3 fresh · <time>\n${figures}${outputs}`);

  p.remove('out');
  expect((await p.run('run', 'p.yaml', '--only', 'words')).screen).toBe(`words: restored in <time> (output was deleted)
demo: 1 restored · <time>

output: out/words.txt
`);
});

const FAILS = `name: fails
steps:
  good: { run: "echo > \${{ outputs.o }}", outputs: { o: good } }
  bad: { run: ["seq 1 30", "echo last >&2; exit 3"], needs: good }
  below: { run: "echo > \${{ outputs.o }}", needs: bad, outputs: { o: below } }
`;

test('a failure: its cause, the last 20 lines, the path of the log', async () => {
  const p = project({ 'p.yaml': FAILS });
  const run = await p.run('run', 'p.yaml');
  expect(run.code).toBe(1);
  const tail = [...Array.from({ length: 19 }, (_, i) => i + 12), 'last'].map((line) => `  │ ${line}`).join('\n');
  expect(run.screen).toBe(`good: running (first run)
good: ran in <time>
bad: running (first run)
bad: failed after <time>: exited with 3
${tail}
  log: .tunesmith/logs/1/bad.log
fails: 1 failed, 1 ran, 1 skipped · <time>
  failed: bad
  skipped: below

output: good
`);
});

test('paths of outputs that would look the same when shortened are shown in full', async () => {
  const cells = (length: number) => `steps:
  a:
    matrix: { name: [${'x'.repeat(length)}-1-${'y'.repeat(length)}, ${'x'.repeat(length)}-2-${'y'.repeat(length)}] }
    run: "echo > \${{ outputs.o }}"
    outputs: { o: "\${{ matrix.name }}.txt" }
`;
  const p = project({ 'p.yaml': cells(60) });
  Object.assign(p.env, terminal(p, 80, 24));
  const { stdout } = await p.run('run', 'p.yaml', '--plain');
  for (const n of [1, 2]) expect(stdout).toContain(`${'x'.repeat(60)}-${n}-${'y'.repeat(60)}.txt\n`);
});

for (const [columns, rows] of [
  [80, 24],
  [40, 10],
] as const) {
  test(`the live view on ${columns} × ${rows}: nothing wraps, the cursor comes back`, async () => {
    const p = project({ 'p.yaml': FIT, 'fit.ts': STEP });
    Object.assign(p.env, terminal(p, columns, rows));
    const run = await p.run('run', 'p.yaml', '-p', 'pause=300', '-j', '2');
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/fit\[rate=0.*%/);
    const screen = screenOf(run.stdout, columns, rows);
    expect(screen.cursorHidden).toBe(false);
    const lines = normalized(screen.lines.join('\n'), p.folder).split('\n');
    // Two cells that run at the same time end in any order.
    const wide = columns === 80;
    const ended = lines.splice(1, wide ? 2 : 4);
    expect(ended.sort()).toEqual(
      wide
        ? [
            '✔ fit[rate=0.25]  <time>  accuracy 0.75, loss 0.1833 (first run)',
            '✔ fit[rate=0.5]  <time>  accuracy 0.5, loss 0.2667 (first run)',
          ]
        : ['  accuracy 0.5, loss 0.2667', '  accuracy 0.75, loss 0.1833', '✔ fit[rate=0.25]  <time>', '✔ fit[rate=0.5]  <time>'],
    );
    expect(lines).toEqual([
      '✔ words  <time>  first run',
      '',
      'demo: 3 ran · <time>',
      '',
      'fit',
      'rate  accuracy      loss',
      '0.50      0.50    0.2667',
      '0.25      0.75 *  0.1833 *',
      '',
      ...(wide
        ? [expect.stringMatching(/^note: fit\[rate=0\.2?5\], fit\[rate=0\.2?5\]: the data are few$/)]
        : [expect.stringMatching(/^note: fit/), '  the data are few']),
      '',
      'output: out/words.txt',
      ...(wide
        ? ['        .tunesmith/outputs/demo/fit[rate=0.5]/model', '        .tunesmith/outputs/demo/fit[rate=0.25]/model']
        : ['        .tunesmith/outp…rate=0.5]/model', '        .tunesmith/outp…ate=0.25]/model']),
    ]);
  });
}

test('no colours if the terminal has none; FORCE_COLOR adds colours to a log', async () => {
  const p = project({ 'p.yaml': FAILS });
  Object.assign(p.env, terminal(p, 80, 24));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the test looks for colours
  const colours = /\x1b\[[\d;]*m/;
  expect((await p.run('run', 'p.yaml')).stdout).not.toMatch(colours);
  delete p.env.NODE_OPTIONS;
  p.env.NO_COLOR = undefined;
  expect((await p.run('run', 'p.yaml')).stdout).not.toMatch(colours);
  p.env.FORCE_COLOR = '1';
  expect((await p.run('run', 'p.yaml')).stdout).toMatch(colours);
});

test('logs on a terminal show only colours; elsewhere, they are unchanged', async () => {
  const p = project({
    'p.yaml': `steps: { a: { run: "printf '\\\\033[32mgreen\\\\033[2J\\\\r10%%\\\\r20%%\\\\n'" } }`,
  });
  await p.run('run', 'p.yaml');
  const raw = '\u001b[32mgreen\u001b[2J\r10%\r20%\n';
  expect((await p.run('logs', 'a')).stdout).toBe(raw);
  Object.assign(p.env, terminal(p, 80, 24));
  expect((await p.run('logs', 'a')).stdout).toBe('green\n10%\n20%\n');
  p.env.NO_COLOR = undefined;
  expect((await p.run('logs', 'a')).stdout).toBe('\u001b[32mgreen\\x1b[2J\n10%\n20%\n\u001b[0m');
});

test('output of a child cannot control the terminal', async () => {
  const p: Project = project({ 'p.yaml': `steps: { a: { run: "printf '\\\\007x\\\\033[2Jy\\\\n'; exit 1" } }` });
  const run = await p.run('run', 'p.yaml');
  expect(run.stdout).toContain('  │ xy\n');
});

test('the line with the caret fits a narrow terminal', async () => {
  const p = project({
    'p.yaml': `steps: { a: { run: "echo ${'word '.repeat(40)}", outputs: { o: out/o.txt }, nonsense: 1, timeout: 5m, cache: false } }`,
  });
  Object.assign(p.env, terminal(p, 60, 24));
  const { stderr } = await p.run('run', 'p.yaml');
  const shown = stderr.split('\n').filter((line) => /^ +\d* \|/.test(line));
  expect(shown).toHaveLength(2);
  expect(shown[0]).toContain('nonsense: 1');
  expect(shown[1]!.indexOf('^^^^^^^^')).toBe(shown[0]!.indexOf('nonsense'));
  for (const line of shown) expect(line.length).toBeLessThanOrEqual(60);
});

test('on a terminal of unknown size, nothing is cut', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo a > ${{ outputs.o }}", outputs: { o: out/o.txt } } }' });
  Object.assign(p.env, terminal(p, 0, 0));
  expect((await p.run('run', 'p.yaml', '--plain')).stdout).toContain('output: out/o.txt\n');
  p.remove('out');
  expect((await p.run('status', 'p.yaml')).stdout).toContain('restore  a  output was deleted\n');
  expect((await p.run('runs')).stdout).toMatch(/^run .*\n1 .*p\.yaml.*1 ran\n$/);
});
