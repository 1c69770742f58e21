/** The page of each kind of model: what it says, and its script as a browser runs it, with the few parts of a document that it needs. */
import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { Bundle } from '../../../steps/ml/answering/bundle.ts';
import { taskKind } from '../../../steps/ml/tasks/registry.ts';
import { page } from '../../../steps/serving/page.ts';

type Shown = Pick<Bundle, 'task' | 'labels'> & Partial<Bundle>;

const bundleOf = (shown: Shown) =>
  ({ name: 'demo', problem: 'single_label_classification', fields: taskKind(shown.task).fields, ...shown }) as Bundle;

const pageOf = (shown: Shown): string => page(bundleOf(shown), { newTokens: 50, needsKey: false }).html;

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

test('the policy allows the script and the style of the page by their hashes, and no other', () => {
  for (const needsKey of [false, true]) {
    const { html, policy } = page(bundleOf({ task: 'causal-lm', labels: [] }), { newTokens: 50, needsKey });
    const sources = Object.fromEntries(policy.split('; ').map((one) => [one.split(' ')[0], one.split(' ').slice(1).join(' ')]));
    for (const name of ['script', 'style']) {
      const parts = Array.from(html.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs')), ([, text]) => text!);
      expect(parts.map((text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`)).toEqual([sources[`${name}-src`]]);
    }
    expect(policy).not.toContain('unsafe');
    expect(html).not.toMatch(/ style="| on[a-z]+="/);
    expect(html.includes('<input id="key" type="password"')).toBe(needsKey);
    expect(html.includes('href="metrics"')).toBe(!needsKey);
  }
});
