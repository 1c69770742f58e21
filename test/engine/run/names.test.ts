/** Property names of every JavaScript object are ordinary names: of steps, parameters, dimensions, outputs, columns, labels. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];

test('a step, columns and labels', async () => {
  const rows = Array.from({ length: 24 }, (_, i) => `text ${i},p${i},c${i},${NAMES[i % 3]}`);
  const p = project({
    'p.yaml': `
steps:
  __proto__: { run: "echo x > \${{ outputs.toString }}", outputs: { toString: out/x } }
  constructor: { uses: collect, with: { files: t.csv } }
  toString: { uses: split, with: { data: "\${{ steps.constructor.data }}", ratios: [0.5, 0.25, 0.25], stratify: label } }
  valueOf: { uses: baseline, with: { data: "\${{ steps.toString.data }}", text: __proto__ } }
`,
    't.csv': `text,__proto__,toString,label\n${rows.join('\n')}\n`,
  });
  expect((await p.states('p.yaml')).cells).toEqual(
    JSON.parse('{"__proto__": "ran", "constructor": "ran", "toString": "ran", "valueOf": "ran"}'),
  );
  expect((await p.run('show', 'constructor.data')).stdout).toMatch(/ p0 +c0 +__proto__\n/);
  expect(JSON.parse(p.read('.tunesmith/outputs/p/valueOf/metrics')).labels).toEqual(['__proto__', 'constructor', 'toString']);
});
