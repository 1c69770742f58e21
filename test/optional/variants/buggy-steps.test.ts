/** Steps with a bug. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const STEP = (body: string) => `import { writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';
export default defineStep({
  name: 'own', version: 1, options: { rate: { type: 'number', default: 1 } }, outputs: { o: 'file' },
  async run({ options, outputs }) { await writeFile(outputs.o, 'half'); ${body} },
});
`;

test("a custom step with a bug: the message has the position in the user's files, the log the whole stack", async () => {
  const p = project({
    'p.yaml': 'steps:\n  own: { uses: ./steps/own.ts }\n  caused: { uses: ./caused.cjs }\n  told: { uses: ./told.ts }\n',
    'steps/own.ts': STEP('count([] as never);').replace('export', "import { count } from './count.ts';\nexport"),
    'steps/count.ts': `interface Row {\n  text: string;\n}\n\nexport function count(rows: Row[]): number {\n  return rows[0].text.length;\n}\n`,
    'caused.cjs': `module.exports = { name: 'own', version: 1, outputs: { o: 'file' }, async run() {
  await new Promise((resolve) => setTimeout(resolve, 1));
  throw new RangeError('no answer', { cause: new Error('refused') });
} };\n`,
    'told.ts': STEP("throw new StepError('no rows', 'Give some.');"),
  });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain', '-j', '1', '--on-failure', 'continue');
  expect(code).toBe(1);
  expect(screen).toMatchInlineSnapshot(`
    "own: running (first run)
    own: failed after <time>: TypeError: Cannot read properties of undefined (reading 'text')
      at count (steps/count.ts:6:18)
      at run (steps/own.ts:6:73)
      log: .tunesmith/logs/1/own.log
    caused: running (first run)
    caused: failed after <time>: RangeError: no answer
      at run (caused.cjs:3:9)
      caused by refused
      log: .tunesmith/logs/1/caused.log
    told: running (first run)
    told: failed after <time>: no rows
      Give some.
      log: .tunesmith/logs/1/told.log
    p: 3 failed · <time>
      failed: own, caused, told
    "
  `);
  expect(p.read('.tunesmith/logs/1/own.log')).toMatch(/at .*own\.ts:6:.*\n.*step-process\.js/);
  expect(p.exists('.tunesmith/outputs/p/own/o')).toBe(false);
  const { events } = await p.run('run', 'p.yaml', '--json', '--only', 'own');
  const { failure } = events.find((event) => event.type === 'cell');
  expect(failure.stack).toEqual([
    { name: 'count', file: p.path('steps/count.ts'), line: 6, column: expect.any(Number) },
    { name: 'run', file: p.path('steps/own.ts'), line: 6, column: expect.any(Number) },
  ]);
});
