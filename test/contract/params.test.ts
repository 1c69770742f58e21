/** Any text after -p arrives unchanged: in a text option, in a command, in a variable, on screens. */
import { expect, test } from 'vitest';
import { project } from '../rig.ts';

const TEXTS = [
  '',
  ' ',
  'trailing space ',
  'a #b',
  '#5',
  '*x',
  '!x',
  '{a',
  '[1, 2',
  '- a',
  'a: b',
  '00501',
  '1.10',
  '12e4567',
  '12345678901234567890',
  'null',
  'True',
  '"quoted"',
  "it's",
  'line\nline\n',
  'cr\r\nand\rcr',
  '\ttab',
  '$HOME $(id) `id` ${x} \\n \\',
  '${{ params.t }} ${{ inputs.all }} ${{',
  '}}',
  '%s %d',
  '~/x',
  '-n',
  '🙂 é e\u0301 \u200b \ufeff',
  '\x1b[31mred\x07',
  `${'0123456789'.repeat(1000)}#`,
];

const names = TEXTS.map((_, i) => `t${i}`);
const ref = (name: string) => `\${{ params.${name} }}`;

const STEP = `import { writeFileSync } from 'node:fs';
import { defineStep } from 'tunesmith';
const names = ${JSON.stringify(names)};
export default defineStep({
  name: 'own', version: 1, options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])), outputs: { o: 'file' },
  run: ({ options, outputs }) => writeFileSync(outputs.o!, JSON.stringify(names.map((name) => (options as any)[name]))),
});
`;

const YAML = `
name: p
params: { ${names.map((name) => `${name}: none`).join(', ')} }
steps:
  own: { uses: ./own.ts, with: { ${names.map((name) => `${name}: "${ref(name)}"`).join(', ')} } }
  sh:
    run:
      - node -e 'require("fs").writeFileSync(process.argv[1], JSON.stringify(process.argv.slice(2)))' \${{ outputs.argv }} ${names.map((name) => `${ref(name)} a${ref(name)}b`).join(' ')}
      - node -e 'require("fs").writeFileSync(process.argv[1], JSON.stringify(${JSON.stringify(names)}.map((name) => process.env[name])))' \${{ outputs.env }}
      - printf %s ${names.map(ref).join(' ')} > \${{ outputs.out }}; cat \${{ inputs.all }} > /dev/null
    env: { ${names.map((name) => `${name}: "${ref(name)}"`).join(', ')} }
    inputs: { all: in/*.txt }
    outputs: { argv: out/argv.json, env: out/env, out: out/out }
`;

test('texts of all kinds arrive unchanged', async () => {
  const p = project({ 'p.yaml': YAML, 'own.ts': STEP, 'in/a.txt': '', 'in/b.txt': '' });
  const set = TEXTS.flatMap((text, i) => ['-p', `t${i}=${text}`]);
  expect((await p.states('p.yaml', ...set)).cells).toEqual({ own: 'ran', sh: 'ran' });
  expect(JSON.parse(p.read('.tunesmith/outputs/p/own/o'))).toEqual(TEXTS);
  expect(JSON.parse(p.read('out/argv.json'))).toEqual(TEXTS.flatMap((text) => [text, `a${text}b`]));
  expect(JSON.parse(p.read('out/env'))).toEqual(TEXTS);
  expect(p.read('out/out')).toBe(TEXTS.join(''));
  // The cached pipeline gives the same result. With one letter more, it is not used.
  expect((await p.states('p.yaml', ...set)).cells).toEqual({ own: 'fresh', sh: 'fresh' });
  expect((await p.states('p.yaml', ...set, '-p', 't1=  ')).cells).toEqual({ own: 'ran', sh: 'ran' });
});

test('typed text is printed as it is, without control characters for the terminal', async () => {
  const yaml = `
params: { t: none }
steps:
  own: { uses: ./own.ts, with: { t0: "\${{ params.t }}", ${names
    .slice(1)
    .map((name) => `${name}: x`)
    .join(', ')} } }
`;
  const p = project({ 'p.yaml': yaml, 'own.ts': STEP });
  await p.states('p.yaml', '-p', 't=00501');
  const { stdout } = await p.run('run', 'p.yaml', '--dry-run', '-p', 't=1.10 #5 \x1b[31mred');
  expect(stdout).toContain('option t0: 00501 → 1.10 #5');
  expect(stdout).not.toContain('\x1b');
  expect((await p.run('runs', 'show', 'latest')).stdout).toMatch(/param t +00501\n/);
});
