/** Errors of reduce that need no data: when the pipeline is read if the model is there, otherwise before longer steps. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../../rig.ts';

const golden = (family: string): string => join(root, 'test/golden/reduce', family);

function withModel(family: string, pipeline: string) {
  const p = project({ 'p.yaml': pipeline, 'texts.jsonl': '{"text":"the cat"}\n' });
  cpSync(golden(family), p.path('model'), { recursive: true });
  return p;
}

const STEPS = `
name: p
steps:
  collect: { uses: collect, with: { files: texts.jsonl } }
  small:
    uses: reduce
    with:
      model: ./model
`;
const WITH_DATA = `${STEPS}      data: \${{ steps.collect.data }}\n`;

test.each([
  [
    'an unknown layer',
    'bert',
    `${STEPS}      layers: [1, 4]\n`,
    '9:15',
    'the model has 3 layers (num_hidden_layers of config.json), but `layers` names 4',
  ],
  ['shared layers', 'albert', `${STEPS}      layers: [1]\n`, '9:15', 'the layers of this albert model share their weights'],
  ['another first layer', 'modernbert', `${STEPS}      layers: [2, 3]\n`, '9:15', 'layer 2 cannot become the first'],
  ['an unknown token', 'bert', `${WITH_DATA}      keep: [fox, nosuchtoken]\n`, '10:13', 'the vocabulary has no token nosuchtoken'],
  ['nothing to do', 'bert', STEPS, '8:7', 'there is nothing to reduce: neither `data` nor `layers` nor `dtype` is given'],
  ['an option without data', 'bert', `${STEPS}      layers: [1]\n      keep: [fox]\n`, '10:13', '`keep` is about the vocabulary'],
])('validate reports %s', async (_, family, pipeline, place, message) => {
  const { code, screen } = await withModel(family, pipeline).run('validate', 'p.yaml');
  expect(screen).toContain(`p.yaml:${place}`);
  expect(screen).toContain(message);
  expect(code).toBe(2);
});

test('validate reports what is wrong with the files of the model, also after they have changed', async () => {
  const p = withModel('bert', `${WITH_DATA}      layers: [1, 2]\n      dtype: float16\n`);
  expect((await p.run('validate', 'p.yaml')).code).toBe(0);
  const edit = (name: string, change: (file: any) => void) => {
    const file = JSON.parse(p.read(`model/${name}`));
    change(file);
    writeFileSync(p.path(`model/${name}`), JSON.stringify(file));
  };
  edit('tokenizer_config.json', (file) => {
    file.mask_token = '<mask>';
  });
  edit('config.json', (file) => {
    file.num_hidden_layers = 1;
  });
  p.remove('model/model.safetensors');
  const { code, screen } = await p.run('validate', 'p.yaml');
  expect(code).toBe(2);
  expect(screen).toContain('p.yaml:8:14');
  expect(screen).toContain('tokenizer_config.json of');
  expect(screen).toContain('names <mask> as mask_token, but the vocabulary does not contain it');
  for (const part of ['p.yaml:10:15', 'the model has 1 layers (num_hidden_layers of config.json), but `layers` names 2'])
    expect(screen).toContain(part);
  for (const part of ['p.yaml:11:14', 'has no weights, so they cannot be stored as float16']) expect(screen).toContain(part);
});

test('a model that another step makes is checked as soon as it is there, before the other inputs are made', async () => {
  const p = withModel(
    'bert',
    `
name: p
steps:
  copy: { run: "cp -r model \${{ outputs.model }}", inputs: { model: model }, outputs: { model: out/model } }
  slow: { run: "sleep 1; echo '{\\"text\\":\\"the cat\\"}' > \${{ outputs.texts }}", needs: copy, outputs: { texts: out/texts.jsonl } }
  collect: { uses: collect, with: { files: "\${{ steps.slow.texts }}" } }
  small: { uses: reduce, with: { model: "\${{ steps.copy.model }}", data: "\${{ steps.collect.data }}", layers: [1, 7] } }
`,
  );
  expect((await p.run('validate', 'p.yaml')).code).toBe(0);
  const { screen, code } = await p.run('run', 'p.yaml', '--plain');
  expect(code).toBe(1);
  expect(screen).toContain('the model has 3 layers (num_hidden_layers of config.json), but `layers` names 7');
  expect(screen).toMatch(/p\.yaml:7:\d+/);
  expect(screen).not.toMatch(/collect: (ran|done|finished)/);
});
