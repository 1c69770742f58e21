/** Odd names of steps, parameters, dimensions, roles, variables, options and metrics. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];

const all = (entry: (name: string) => string) => NAMES.map(entry).join(', ');

const YAML = `
name: __proto__
params: { ${all((name) => `${name}: ${name}`)}, map: { __proto__: { constructor: deep } } }
steps:
${NAMES.map(
  (name) => `  ${name}:
    matrix: { ${name}: [1, 2] }
    env: { ${all((other) => `${other}: "v \${{ params.${other} }}"`)} }
    inputs: { ${all((other) => `${other}: in.txt`)} }
    outputs: { ${all((other) => `${other}: "out/${name}-\${{ matrix.${name} }}/${other}"`)} }
    run: [${all((other) => `"cat \${{ inputs.${other} }} > \${{ outputs.${other} }}; echo \${{ params.${other} }} \${{ params.map.__proto__.constructor }} $${other} >> \${{ outputs.${other} }}"`)}]`,
).join('\n')}
  own: { uses: ./own.mjs, with: { ${all((name) => `o_${name}: { ${name}: 1 }, ${name}: "\${{ steps.${name}[*].${name} }}"`)} } }
  only: { run: "cat \${{ steps.own.__proto__ }} > \${{ outputs.__proto__ }}", outputs: { __proto__: out/only }, env: [__proto__] }
`;

const OWN = `const names = ${JSON.stringify(NAMES)};
const all = (value) => Object.fromEntries(names.map((name) => [name, value]));
import { writeFileSync } from 'node:fs';
export default {
  name: 'constructor', version: 1, inputs: all({ kind: 'any', many: true }), outputs: all('file'),
  options: Object.fromEntries(names.map((name) => ['o_' + name, { type: 'object', additionalProperties: { type: 'number' } }])),
  run({ options, inputs, outputs, origins, metric }) {
    for (const name of names) {
      metric(name, 1);
      writeFileSync(outputs[name], JSON.stringify([Object.entries(options['o_' + name]), inputs[name].length, origins[name].map(({ matrix }) => Object.entries(matrix))]));
    }
  },
};
`;

test('steps, parameters, dimensions, roles, variables, options and metrics with such names: run, stored, restored, explained', async () => {
  const p = project({ 'p.yaml': YAML, 'own.mjs': OWN, 'in.txt': 'x\n' });
  const states = async (...args: string[]) => new Set(Object.values((await p.states('p.yaml', ...args)).cells));
  const first = await p.states('p.yaml');
  expect(Object.keys(first.cells)).toHaveLength(12);
  expect(new Set(Object.values(first.cells))).toEqual(new Set(['ran']));
  expect(p.read('out/__proto__-1/__proto__')).toBe('x\n__proto__ deep v __proto__\n');
  expect(JSON.parse(p.read('out/only'))).toEqual([[['__proto__', 1]], 2, [[['__proto__', 1]], [['__proto__', 2]]]]);
  expect(await states('--locked')).toEqual(new Set(['fresh']));
  p.remove('out');
  expect(await states()).toEqual(new Set(['restored', 'fresh']));
  expect((await p.run('explain', 'p.yaml', '__proto__[__proto__=1]')).stdout).toContain('env __proto__');
  expect((await p.run('verify', 'p.yaml', '--cells', '2', '--seed', '1')).code).toBe(0);
  const other = await p.run('run', 'p.yaml', '--dry-run', '-p', 'constructor=other');
  expect(other.code).toBe(0);
  expect(other.stdout).toContain('10 to run');
});
