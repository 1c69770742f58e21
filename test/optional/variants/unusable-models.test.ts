/** Unusable model folders with the real CLI: messages of tokenize, train, predict and serve. (All kinds of damage: test/steps/ml/models/faults.ts.) */
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { failure, type Project, STACK } from '../../contract/bad-input/rig.ts';
import { project } from '../../rig.ts';
import { config, FAULTS, type Fault, soundModel, text } from '../../steps/ml/models/faults.ts';

const DATA = `text,label\n${Array.from({ length: 20 }, (_, i) => `the day was sad ${i},bad\na happy day ${i},good\n`).join('')}`;

const STEPS = `
steps:
  collect: { uses: collect, with: { files: data.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2] } }
`;

/** A project with the valid model and a damaged one for each fault, in folders with the names of the faults. */
async function broken(faults: Record<string, Fault>, yaml: string): Promise<Project> {
  const p = project({
    'p.yaml': STEPS + yaml.replace('FAULTS', JSON.stringify(Object.keys(faults))),
    'data.csv': DATA,
    'in.txt': 'a happy day\n',
  });
  const sound = await soundModel();
  for (const [name, fault] of Object.entries<Fault>({ sound: () => {}, ...faults })) {
    cpSync(sound, p.path(name), { recursive: true });
    await fault(p.path(name));
  }
  return p;
}

/** The failure of each cell of a matrix. None may leave files behind. */
async function failures(p: Project, step: string): Promise<Record<string, string>> {
  const screen = await failure(p, '--on-failure', 'continue');
  expect(p.find('.tunesmith/outputs').filter((file) => file.includes(`/p/${step}`))).toEqual([]);
  const found = screen.matchAll(/\[model=(\S+)\]: failed after <time>: (.*?)\n {2}log:/gs);
  return Object.fromEntries([...found].map(([, name, said]) => [name!, plain(p, said!)]).sort());
}

/** The messages of JSON.parse differ between versions of Node. */
const plain = (p: Project, said: string) =>
  said
    .replaceAll(basename(p.folder), 'project')
    .replace(/(is not JSON:) .*/, '$1 …')
    .trimEnd();

const named = (...names: string[]) => Object.fromEntries(names.map((name) => [name, FAULTS[name]!]));

const WEIGHTS = named(
  ...['missing', 'misshapen', 'nan', 'truncated', 'zero-bytes', 'long-header', 'pickled', 'tensor-not-in-its-shard'],
  ...['unknown-family', 'config-no-json', 'heads-do-not-divide', 'more-labels'],
);

test('a model that cannot be trained', async () => {
  const p = await broken(
    WEIGHTS,
    `  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: sound, max_length: 16 } }
  train:
    uses: train
    matrix: { model: FAULTS }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: "\${{ matrix.model }}", epochs: 1 }
`,
  );
  const said = await failures(p, 'train');
  expect(Object.keys(said)).toEqual(Object.keys(WEIGHTS).sort());
  expect(said).toMatchSnapshot();
});

test('a model that cannot predict', async () => {
  const p = await broken(WEIGHTS, '');
  const said: Record<string, string> = {};
  for (const name of Object.keys(WEIGHTS)) {
    const { code, stdout, screen } = await p.run('predict', name, 'in.txt');
    expect({ name, code, stdout }).toEqual({ name, code: 2, stdout: '' });
    expect(screen).not.toMatch(STACK);
    said[name] = plain(p, screen);
  }
  expect(said).toMatchSnapshot();
  const served = await p.run('serve', 'missing', '--port', '0');
  // serve prints the same message, with the same exit code.
  expect([served.code, plain(p, served.screen)]).toEqual([2, said.missing]);
});

const TOKENIZERS: Record<string, Fault> = {
  'cut-off': text('tokenizer.json', '{"version":"1.0","model":{"type":'),
  'of-no-model': text('tokenizer.json', '{"version":"1.0"}'),
  none: (folder) => rmSync(`${folder}/tokenizer.json`),
  sentencepiece: (folder) => {
    rmSync(`${folder}/tokenizer.json`);
    writeFileSync(`${folder}/spiece.model`, '');
  },
  larger: config({ vocab_size: 20 }),
  shorter: config({ max_position_embeddings: 12 }),
  'no-config': FAULTS['config-missing']!,
  'other-family': config({ model_type: 'gpt_neo' }),
};

test('a model whose tokenizer cannot be used', async () => {
  const p = await broken(
    TOKENIZERS,
    `  tokenize:
    uses: tokenize
    matrix: { model: FAULTS }
    with: { data: "\${{ steps.split.data }}", model: "\${{ matrix.model }}", max_length: 16 }
`,
  );
  const said = await failures(p, 'tokenize');
  expect(Object.keys(said)).toEqual(Object.keys(TOKENIZERS).sort());
  expect(said).toMatchSnapshot();
});
