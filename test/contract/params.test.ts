/** Any text after -p arrives unchanged: in a text option, in a command, in a variable, on screens. */
import { expect, test } from 'vitest';
import { project } from '../rig.ts';
import { names, STEP, TEXTS } from './texts.ts';

const ref = (name: string) => `\${{ params.${name} }}`;

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
