/** The page of each kind of model: what it says, and its script as a browser runs it, with the few parts of a document that it needs. */
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { Bundle } from '../../../steps/ml/answering/bundle.ts';
import { taskKind } from '../../../steps/ml/tasks/registry.ts';
import { page } from '../../../steps/serving/page.ts';

type Shown = Pick<Bundle, 'task' | 'labels'> & Partial<Bundle>;

const pageOf = (shown: Shown): string =>
  page({ name: 'demo', problem: 'single_label_classification', fields: taskKind(shown.task).fields, ...shown } as Bundle, 50);

/** The text of the element `curl`, once the script of the page has run. */
function curlOf(html: string): string {
  const element = (id: string, field = id, group?: string) => ({
    id,
    value: '',
    dataset: { field, ...(group && { group: '' }) },
    addEventListener() {},
    textContent: '',
  });
  const elements = new Map(['curl', 'result', 'took'].map((id) => [id, element(id)]));
  const fields = Array.from(html.matchAll(/<(?:textarea|input) id="(\w+)" data-field="([^"]+)"( data-group)?/g), ([, id, field, group]) =>
    element(id!, field, group),
  );
  for (const field of fields) elements.set(field.id, field);
  const document = { forms: [element('form')], getElementById: (id: string) => elements.get(id), querySelectorAll: () => fields };
  runInNewContext(/<script>(.*)<\/script>/s.exec(html)![1]!, { document, location: { href: 'http://localhost:8080/' }, URL });
  return elements.get('curl')!.textContent;
}

const PAIR = [{ name: 'text' }, { name: 'text_pair' }];

test.each<[Shown, about: string, curl: string]>([
  [
    { task: 'text-classification', labels: ['ham', 'spam'], fields: [{ name: 'text' }] },
    'Classifies a text as <b>ham</b> or <b>spam</b>',
    '{"inputs":"…"}',
  ],
  [
    {
      task: 'text-classification',
      labels: ['ham', 'spam'],
      fields: [{ name: 'text' }, { name: 'result', group: true }],
      calibration: {
        temperature: 1,
        group: 'result',
        group_thresholds: {},
        fitted_on: 'validation',
        rows: 9,
        ece: { before: 0, after: 0 },
      },
    },
    'Classifies a text as <b>ham</b> or <b>spam</b>',
    '{"inputs":{"text":"…","result":null}}',
  ],
  [
    { task: 'text-classification', labels: ['a', 'b', 'c'], fields: PAIR },
    'Classifies a pair of texts as <b>a</b>, <b>b</b> or <b>c</b>',
    '"text_pair":"…"',
  ],
  [
    { task: 'text-classification', labels: ['a', 'b'], problem: 'multi_label_classification', fields: [{ name: 'text' }] },
    'Labels a text with any of <b>a</b> and <b>b</b>',
    '{"inputs":"…"}',
  ],
  [{ task: 'text-classification', labels: ['score'], problem: 'regression', fields: PAIR }, 'Scores a pair of texts', '"text_pair":"…"'],
  [
    { task: 'token-classification', labels: ['O', 'B-PER', 'I-PER', 'B-<i>'] },
    'Finds <b>PER</b> and <b>&#60;i&#62;</b> in a text',
    '{"inputs":"…"}',
  ],
  [{ task: 'question-answering', labels: [] }, 'Finds the answer to a question in a text', '{"question":"…","context":"…"}'],
  [{ task: 'masked-lm', labels: [] }, 'Fills in masked words', '{"inputs":"…"}'],
  [{ task: 'causal-lm', labels: [] }, 'Continues a text', '{"prompt":"…","stream":true,"max_new_tokens":50}'],
  [{ task: 'seq2seq', labels: [] }, 'Writes a text from another text', '{"prompt":"…","stream":true,"max_new_tokens":50}'],
])('%j', (shown, about, curl) => {
  const html = pageOf(shown);
  expect(html).toContain(`<p>${about}</p>`);
  expect(curlOf(html)).toContain(curl);
  const labels = Array.from(html.matchAll(/<label for="\w+">([^<]*)/g), ([, label]) => label!.trim());
  expect(labels[0]).toBe(shown.fields === PAIR ? 'First text' : shown.task === 'question-answering' ? 'Question' : 'Text');
});
