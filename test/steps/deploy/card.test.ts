/** The model card states each fact once, and shows only libraries that support the model. */
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { type ModelCard, modelCard } from '../../../steps/deploy/card.ts';

function card(model: object, training: ModelCard['training'] = {}, sources?: ModelCard['sources'], metrics?: ModelCard['metrics']): string {
  const made = { labels: ['a', 'b'], problem: 'single_label_classification', ...model } as ModelCard['model'];
  return modelCard({
    name: 'x',
    model: made,
    training,
    sources,
    metrics,
    preprocessing: [],
    truncationSide: 'right',
    mask: '[MASK]',
    onnx: true,
  });
}

// The classes that transformers.js 4.3 knows (MODEL_FOR_…_MAPPING_NAMES in its registry).
test.each([
  ['bert', 'text-classification', true],
  ['bert', 'token-classification', true],
  ['bert', 'question-answering', true],
  ['albert', 'text-classification', true],
  ['albert', 'question-answering', true],
  ['albert', 'masked-lm', true],
  ['albert', 'token-classification', false],
  ['distilbert', 'token-classification', true],
  ['roberta', 'masked-lm', true],
  ['xlm-roberta', 'question-answering', true],
  ['camembert', 'token-classification', true],
  ['electra', 'question-answering', true],
  ['modernbert', 'masked-lm', true],
  ['modernbert', 'question-answering', false],
  ['gpt2', 'text-classification', false],
  ['gpt2', 'causal-lm', true],
  ['t5', 'seq2seq', true],
])('%s for %s: transformers.js is offered: %s', (type, task, offered) => {
  const text = card({ task, family: { type } });
  expect([text.includes('@huggingface/transformers'), text.includes('- transformers.js')]).toEqual([offered, offered]);
});

test('the number of a regression is read from the logits, because the pipeline of transformers.js would convert it to a probability', () => {
  const text = card({ task: 'text-classification', family: { type: 'bert' }, labels: ['score'], problem: 'regression' });
  expect(text).toContain("const { logits } = await model(tokenizer('a text', { truncation: true }));");
  expect(text).not.toContain("pipeline('text-classification'");
});

test('results and options of the training are one list: no name occurs twice', () => {
  const text = card(
    { task: 'text-classification', family: { type: 'bert' } },
    {
      epochs: 7,
      steps: 70,
      runtime: { name: 'onnx', description: 'onnxruntime-node 1.30.0' },
      options: { epochs: 12, batch_size: 16, runtime: 'auto' },
    },
  );
  expect(text.split('## Training\n\n')[1]).toBe(`|  |  |
| --- | --- |
| epochs | 7 |
| steps | 70 |
| runtime | onnxruntime-node 1.30.0 |
| batch_size | 16 |
`);
});

test('the data are listed with their number of rows; the front matter names those of the hub', () => {
  const bert = { task: 'text-classification', family: { type: 'bert' } };
  const text = card(
    bert,
    {},
    {
      rows: 6046,
      sources: [
        { name: 'hf://datasets/owner/reviews@0123abcd', files: 2 },
        { name: 'hf://datasets/squad@89/plain.parquet', files: 1 },
        { name: 'hf://datasets/owner/reviews@89abcdef/more.csv', files: 1 },
        { name: 'kaggle://owner/mails@3', files: 1 },
        { name: 'notes.csv', files: 1 },
      ],
    },
  );
  expect(parse(text.split('---\n')[1]!).datasets).toEqual(['owner/reviews', 'squad']);
  expect(text).toContain('6,046 rows were collected from');
  expect(text).toContain('- `hf://datasets/owner/reviews@0123abcd` (2 files)\n- `hf://datasets/squad@89/plain.parquet`\n');
  const unknown = card(bert);
  expect(unknown).toContain('Unknown: the model folder does not record the training data.');
  expect(unknown).not.toContain('datasets:');
});

test('results: intervals, and n/a with the reason for an undefined metric', () => {
  const text = card({ task: 'text-classification', family: { type: 'bert' } }, {}, undefined, {
    split: 'test',
    rows: 9,
    metrics: { accuracy: 1, f1: 0.91234, 'gap.none': null, roc_auc: null },
    intervals: { f1: { low: 0.9, high: 0.92351 }, accuracy: { low: null, high: null } },
    interval: { level: 0.95 },
    undefined: { 'gap.none': 'no row matches' },
  });
  expect(text.split('| --- | --- |\n')[1]!.split('\n\n')[0]).toBe(`| accuracy | 1 |
| f1 | 0.9123 [0.9000, 0.9235] |
| gap.none | n/a: no row matches |
| roc_auc | n/a |`);
  expect(parse(text.split('---\n')[1]!).metrics).toEqual(['accuracy', 'f1']);
});

test('a label with a pipe does not end a cell, and a large confusion matrix is left out', () => {
  const bert = { task: 'text-classification', family: { type: 'bert' } };
  const metrics = (labels: string[]) => ({
    split: 'test',
    rows: 2,
    metrics: {},
    labels,
    confusion_matrix: labels.map(() => labels.map(() => 1)),
  });
  const text = card(bert, { class_weights: { 'a|b': 2, c: 1 } }, undefined, metrics(['a|b', 'c']));
  expect(text).toContain('| class_weights | `{"a\\|b":2,"c":1}` |');
  expect(text).toContain('|  | a\\|b | c |');
  const large = card(bert, {}, undefined, metrics(Array.from({ length: 1000 }, (_, i) => `label ${i}`)));
  expect(large).toContain('The confusion matrix of 1,000 labels is left out.');
  expect(large.length).toBeLessThan(10_000);
});
