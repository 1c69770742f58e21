/**
 * Follows each recipe of CONTRIBUTING.md in a copy of the sources: adds a toy to exactly the files that the recipe
 * names, compiles the copy, and uses the toy.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { read, root } from './sources.ts';

/** A new file has a text. A changed file has lines that are inserted after the first place with the text `after`. */
type Change = { text: string } | { after: string; insert: string }[];

interface Recipe {
  /** The heading in CONTRIBUTING.md. */
  heading: string;
  changes: Record<string, Change>;
  /** A module that throws unless the toy works. */
  use: string;
}

const RECIPES: Recipe[] = [
  {
    heading: 'A step',
    changes: {
      'steps/toy/step.ts': {
        text: `import { declareStep } from '../../engine/contract/step.ts';

export default declareStep({
  name: 'toy',
  version: 1,
  description: 'A toy.',
  outputs: { text: { kind: 'file', description: 'A text.' } },
});
`,
      },
      'steps/toy/toy.ts': {
        text: `import { writeFile } from 'node:fs/promises';
import type { ContextOf } from '../../engine/contract/step.ts';
import type step from './step.ts';

export const toy = ({ outputs }: ContextOf<typeof step>): Promise<void> => writeFile(outputs.text, 'a toy');
`,
      },
      'steps/registry.ts': [
        {
          after: 'const STEPS = {',
          insert: "  toy: builtIn(() => import('./toy/step.ts'), async () => (await import('./toy/toy.ts')).toy),",
        },
      ],
    },
    use: `import { builtin, builtinNames } from './steps/registry.ts';
assert.ok(builtinNames().includes('toy'));
const step = await builtin('toy');
await step.run({ outputs: { text: 'toy.txt' } });
assert.equal(readFileSync('toy.txt', 'utf8'), 'a toy');`,
  },
  {
    heading: 'A task',
    changes: {
      'steps/ml/tasks/toy.ts': {
        text: `import type { Row } from '../data/database.ts';
import { longTextIsTruncated, objectSchema, type Preparation, type PreparationContext, rowOf, type TaskKind } from './task.ts';

/** The sum of the logits. */
export const toy: TaskKind<Float32Array> = {
  task: 'toy',
  fields: [{ name: 'text' }],
  prepare,
  tokenizing: ({ max_length }) => ({ maxLength: max_length! }),
  encode: async (inputs, { tokenizer }) => (await tokenizer.encode(inputs.map(({ text }) => text!))).map((sequence) => [sequence]),
  read: ({ logits }, row) => rowOf(logits!, row),
  answer: (_, __, [logits]) => ({ sum: logits!.reduce((a, b) => a + b, 0) }),
  measure: () => ({ columns: {}, read: ({ logits }, row) => rowOf(logits!, row), add: () => ({}), metrics: () => ({ loss: 0 }), report: () => ({}) }),
  card: { hubTask: 'toy', purpose: ({ texts }) => \`plays with \${texts}\`, longInput: longTextIsTruncated, example: () => ({ input: 'a text', answer: { sum: 1 } }) },
  page: { button: 'Play', title: ({ texts }) => \`Plays with \${texts}\` },
  answerSchema: () => objectSchema({ sum: { type: 'number' } }),
};

async function prepare({ options }: PreparationContext): Promise<Preparation<Row & { text: string }>> {
  const text = options.text ?? 'text';
  return { labels: [], fields: { text }, paired: false, columns: {}, select: { text }, encode: async () => [] };
}
`,
      },
      'steps/ml/tasks/registry.ts': [
        { after: "from './token-classification.ts';", insert: "import { toy } from './toy.ts';" },
        { after: 'const kinds: Record<Task, TaskKind<any>> = {', insert: '  toy,' },
      ],
      'steps/ml/models/config.ts': [
        {
          after: 'export const TASKS = {',
          insert: "  toy: { classes: ['ForToy'], options: { tokenize: ['text'], baseline: [] }, baselines: [] },",
        },
      ],
      'steps/ml/models/bert.ts': [
        {
          after: '  heads: {',
          insert:
            "    toy: { architecture: 'BertForToy', parameters: () => ({}), labelled: [], logits: (_config, _weights, { input_ids }) => input_ids! },",
        },
      ],
    },
    use: `import { taskOf } from './steps/ml/models/config.ts';
import { familyOf } from './steps/ml/models/registry.ts';
import { taskKind } from './steps/ml/tasks/registry.ts';
import { builtin } from './steps/registry.ts';
assert.equal(taskOf({ architectures: ['BertForToy'] }, 'x'), 'toy');
assert.ok(familyOf({ model_type: 'bert' }).heads.toy);
const kind = taskKind('toy');
const result = kind.read({ logits: { data: [1, 2], shape: [1, 2] } }, 0);
assert.deepEqual(await kind.answer({}, [], [result]), { sum: 3 });
for (const name of ['tokenize', 'train']) assert.ok((await builtin(name)).options.task.enum.includes('toy'), name);
const { modelCard } = await import('./steps/deploy/card.ts');
const model = { task: 'toy', labels: [], problem: 'regression', family: { type: 'bert' } };
assert.match(modelCard({ name: 'x', model, training: {}, preprocessing: [], truncationSide: 'right' }), /A bert model that plays with a text/);`,
  },
  {
    heading: 'A model family',
    changes: {
      'steps/ml/models/toy.ts': {
        text: `import { ConfigReader } from './config.ts';
import type { Config, Family } from './family.ts';

export const toy: Family<Config> = {
  type: 'toy',
  prefix: 'toy',
  dropouts: [],
  loraTargets: [],
  configure: (file) => ({ model_type: 'toy', vocab_size: new ConfigReader(file).count('vocab_size', 10), pad_token_id: 0, initializer_range: 0.02 }),
  maxLength: () => 8,
  depthOf: () => undefined,
  typed: () => false,
  parameters: () => ({}),
  heads: {},
};
`,
      },
      'steps/ml/models/registry.ts': [
        { after: "from './t5.ts';", insert: "import { toy } from './toy.ts';" },
        { after: 'const families: Family[] = [', insert: 'toy,' },
      ],
    },
    use: `import { familyOf } from './steps/ml/models/registry.ts';
assert.equal(familyOf({ model_type: 'toy' }).configure({}).vocab_size, 10);`,
  },
  {
    heading: 'A kernel',
    changes: {
      'steps/ml/runtime/kernels.ts': [{ after: 'export const kernels: Record<string, Kernel> = {', insert: '  Tan: unary(),' }],
      'steps/ml/runtime/onnx/emit.ts': [{ after: 'const SAME_OP: Record<string, string> = {', insert: "  Tan: 'Tan'," }],
      'steps/ml/runtime/tensorflow/emit.ts': [{ after: 'const SAME_OP: Record<string, string> = {', insert: "  Tan: 'Tan'," }],
    },
    use: `import { openRuntime } from './steps/ml/device/open.ts';
import { tf } from './steps/ml/runtime/tfjs.ts';
const data = Float32Array.of(0.5);
for (const name of ['onnx', 'eager']) {
  const runtime = await openRuntime(name, { threads: 1 });
  const inference = runtime.inference((_, { x }) => ({ y: tf.tan(x) }), {}, { x: ['batch'] });
  const { y } = await inference.run({ x: { dtype: 'float32', shape: [1], data } });
  assert.ok(Math.abs(y.data[0] - Math.tan(0.5)) < 1e-6, name);
  await inference.dispose();
}`,
  },
  {
    heading: 'A metric',
    changes: {
      'steps/ml/metrics/text-classification.ts': [
        {
          after: 'export const REGRESSION: Record<string, Distance> = {',
          insert: '  toy: (truth, predicted) => Math.max(...truth.map((t, i) => Math.abs(t - predicted[i]!))),',
        },
      ],
    },
    use: `import { METRIC_NAMES, taskMetrics } from './steps/ml/tasks/metrics.ts';
import { regressionMetrics } from './steps/ml/metrics/text-classification.ts';
assert.ok(METRIC_NAMES.includes('toy'));
assert.ok(taskMetrics('text-classification', 'regression').known.includes('toy'));
assert.deepEqual(regressionMetrics([1, 2], [1, 5], ['toy']), { toy: 3 });`,
  },
  {
    heading: 'A command',
    changes: {
      'engine/commands/toy.ts': { text: "export default function toy(): void {\n  process.stdout.write('a toy\\n');\n}\n" },
      'engine/commands/command-line.ts': [
        { after: ").usage('NAME');", insert: "command('toy', 'print a toy', () => import('./toy.ts'));" },
      ],
    },
    use: `process.argv = [process.argv[0], 'tunesmith', 'toy'];
const lines = [];
process.stdout.write = (line) => lines.push(line);
await import('./engine/commands/command-line.ts');
assert.deepEqual(lines, ['a toy\\n']);`,
  },
];

let copy: string;
/** It takes long, so it runs beside the toys. */
let compiled: Promise<string>;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'tunesmith-recipes-'));
  for (const name of ['engine', 'cache', 'steps', 'package.json', 'tsconfig.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  for (const name of ['node_modules', 'dist']) symlinkSync(join(root, name), join(copy, name));
  for (const { changes } of RECIPES) for (const [file, change] of Object.entries(changes)) apply(file, change);
  compiled = failureOf(join(root, 'node_modules/typescript/bin/tsc'), '--noEmit');
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

test.each(RECIPES)('$heading: the recipe names the files that change, and no others', ({ heading, changes }) => {
  const section = read('CONTRIBUTING.md').split(`### ${heading}\n`)[1]!.split(/^##/m)[0]!;
  const named = [...section.matchAll(/^\d+\. (?:\[.*?\]\(|`)(.*?)[)`]/gm)].map(([, file]) => file!);
  expect(named.map((file) => file.replaceAll('NAME', 'toy').replaceAll('FAMILY', 'bert')).sort()).toEqual(Object.keys(changes).sort());
});

test.concurrent.each(RECIPES)('$heading: the toy works', async ({ heading, use }) => {
  const imports = "import assert from 'node:assert/strict';\nimport { readFileSync } from 'node:fs';\n";
  const file = `use-${heading.replaceAll(' ', '-')}.mjs`;
  writeFileSync(join(copy, file), imports + use);
  expect(await failureOf('--import', 'tsx', file)).toBe('');
});

test('TypeScript accepts the toys', async () => {
  expect(await compiled).toBe('');
});

function apply(file: string, change: Change): void {
  const path = join(copy, file);
  if ('text' in change) {
    if (existsSync(path)) throw new Error(`${file} exists`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, change.text);
    return;
  }
  for (const { after, insert } of change) {
    const text = readFileSync(path, 'utf8');
    const end = text.indexOf(after) + after.length;
    if (end < after.length) throw new Error(`${file} has no ${after}`);
    writeFileSync(path, `${text.slice(0, end)}\n${insert}${text.slice(end)}`);
  }
}

/** What Node says in the copy before it fails; empty if it does not fail. */
async function failureOf(...args: string[]): Promise<string> {
  try {
    await promisify(execFile)(process.execPath, args, { cwd: copy });
    return '';
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return `${stdout}${stderr}`;
  }
}
