/** The step `report`: one page of everything, safe and accessible; test/optional/report.test.ts opens it in a browser. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import step from '../../../steps/report/step.ts';
import { COLORS } from '../../../steps/report/style.ts';
import { ranStep, temporary } from '../rig.ts';
import { file, HISTORY, METRICS, predictionsOf, randomClassifier } from './material.ts';

const SECTIONS = [
  'summary',
  'training',
  'confusion',
  'curves',
  'calibration',
  'slices',
  'fairness',
  'counterfactual',
  'behavior',
  'mistakes',
  'samples',
  'data',
  'checks',
];

const PICTURES = ['loss-1', 'validation-1', 'roc', 'precision-recall', 'reliability', 'slices-1', 'labels', 'problems-1'];

async function inputs() {
  const predictions = await predictionsOf(400);
  return {
    metrics: [file(METRICS)],
    predictions: [predictions],
    baselines: [file({ split: 'test', rows: 400, methods: { majority: { metrics: { f1: 0, accuracy: 0.5 } } } })],
    history: [file(HISTORY)],
    model: [await randomClassifier()],
    data: [predictions],
    checks: [
      file({
        rows: 400,
        metrics: { duplicates: 0.1, languages: null },
        undefined: { languages: 'no <text>' },
        limits: [{ name: 'duplicates', limit: '<= 0.05', value: 0.1, met: false }],
        problems: { duplicate: 40 },
        examples: { duplicate: [{ id: '<1>', text: '<script>', label: null, detail: 'like <2>' }] },
      }),
    ],
    behavior: [
      file({
        tests: {
          negation: { kind: 'invariance', cases: 10, failures: 2, passed: false, examples: [{ text: 'not <b>bad</b>', expected: 'good' }] },
        },
      }),
    ],
    calibration: [file({ metrics: { temperature: 1.2, ece: 0.02 }, thresholds: { good: 0.4 } })],
    verdict: [file({ passed: false, requirements: [{ metric: 'f1', limit: '>= 0.95', value: 0.91, passed: false }] })],
    samples: [file('a text that a model wrote <script>\n{"prompt":"once","text":"upon <a> time"}\n')],
  };
}

test('the page has each section, is safe and self-contained, and every picture has a text', async () => {
  const ran = await ranStep(step, { title: 'A <title>' }, await inputs());
  expect(readdirSync(ran.outputs.report!)).toEqual(['report.html']);
  expect(ran.warnings).toEqual([]);
  const page = readFileSync(join(ran.outputs.report!, 'report.html'), 'utf8');

  // Sections and links.
  for (const id of SECTIONS) expect(page, id).toContain(`<section id="${id}"`);
  const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id!);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [, target] of page.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(target);
  expect(page).toContain('[0.88, 0.94]');
  expect(page).toContain('there is one class &#60;only&#62;');
  expect(page).toMatch(/n\/a \(one class only\)/);
  expect(page).toContain('mail&#60;/b&#62; 0.85, $&#39; and $&#38; 0.95. Lines are intervals; the worst slice is marked.</desc>');

  expect(page).toContain('&#62;= 0.95');
  expect(page).toContain('&#60;= 0.05 (missed)');

  // Counts of the confusion matrix lead to examples, whose tokens are marked and listed.
  expect(page).toContain('href="#cell-0-1"');
  expect(page).toContain('<section class="examples" id="cell-0-1"');
  expect(page).toMatch(/<mark class="[ud][1-4]">/);
  expect(page).toMatch(/Raise the score of “/);

  // A long text is not cut within a character, and the page says how much is left out.
  expect(page).toMatch(/(?<!👧‍👦)(👩‍👩‍👧‍👦){0,54} … \(\+ 104,622 characters\)/u);
  expect(page).not.toMatch(/\u200d( …|<)/);

  // Nothing is loaded from elsewhere, and no text of the data is markup.
  expect(page).not.toMatch(/(src|href)="(?!#|data:image\/svg\+xml;base64,)/);
  expect(page).not.toMatch(/@import|url\((?!#)/);
  expect(page.match(/<script/g)).toHaveLength(1);
  expect(page).toContain("default-src 'none'");
  expect(page).not.toMatch(/<img src=x|<b>mail|<i>|<title>A </);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
  expect(page).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/);
  expect(page.isWellFormed()).toBe(true);

  const figures = page
    .split('<figure ')
    .slice(1)
    .map((text) => text.split('</figure>')[0]!);
  expect(figures.map((text) => text.slice(4, text.indexOf('"', 4)))).toEqual(PICTURES);
  for (const figure of figures) {
    expect(figure).toMatch(/<svg role="img" aria-labelledby="\S+ \S+"/);
    expect(figure).toMatch(/<title id="[^"]+">[^<]+<\/title><desc id="[^"]+">[^<]+<\/desc>/);
    if (!figure.startsWith('id="validation')) expect(figure).toContain('<table>');
  }
});

test.each(['light', 'dark'] as const)('the %s colors have a contrast of at least 4.5', (theme) => {
  const colors = Object.fromEntries([...COLORS[theme].matchAll(/--(\w+):(#[0-9a-f]+)/g)].map(([, name, color]) => [name, color!]));
  const backgrounds = ['page', 'box'];
  for (const name of ['text', 'faint', 'accent', 'good', 'bad', ...['s1', 's2', 's3', 's4', 's5', 's6']])
    for (const background of backgrounds)
      expect(contrast(colors[name]!, colors[background]!), `${name} on ${background}`).toBeGreaterThanOrEqual(4.5);
  for (const mark of ['u1', 'u2', 'u3', 'u4', 'd1', 'd2', 'd3', 'd4', 'heat', 'wrong'])
    expect(contrast(colors.text!, colors[mark]!), mark).toBeGreaterThanOrEqual(4.5);
});

function contrast(a: string, b: string): number {
  const luminance = (color: string) => {
    const digits = color.length === 4 ? [...color.slice(1)].map((c) => c + c) : color.slice(1).match(/../g)!;
    const [r, g, blue] = digits.map((hex) => {
      const c = Number.parseInt(hex, 16) / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * blue!;
  };
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light! + 0.05) / (dark! + 0.05);
}

test('Markdown has its pictures beside it, and escapes the data', async () => {
  const ran = await ranStep(step, { format: 'md' }, await inputs());
  const text = readFileSync(join(ran.outputs.report!, 'report.md'), 'utf8');
  const pictures = [...text.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)].map(([, path]) => path!);
  expect(pictures).toEqual(PICTURES.map((name) => `pictures/${name}.svg`));
  for (const path of pictures) {
    const svg = readFileSync(join(ran.outputs.report!, path), 'utf8');
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg).toContain('prefers-color-scheme');
    expect(svg.match(/<title>/g)).toHaveLength(1);
  }
  expect(readFileSync(join(ran.outputs.report!, 'pictures', 'slices-1.svg'), 'utf8')).toContain('$&#39; and $&#38; 0.95.');
  for (const title of ['Summary', 'Confusion matrix', 'Worst mistakes', 'Data checks']) expect(text).toContain(`## ${title}`);
  expect(text).not.toMatch(/<script|<img|<b>|\]\((javascript|http)/);
  expect(text).toContain('| f1 | **0.91** &#91;0.88, 0.94&#93; |');
});

test('a test set of 10,000 rows makes a page of less than 3 MB, which says what is left out', async () => {
  const { outputs } = await ranStep(step, {}, { metrics: [file(METRICS)], predictions: [await predictionsOf(10_000)] });
  const page = readFileSync(join(outputs.report!, 'report.html'), 'utf8');
  expect(page.length).toBeLessThan(3e6);
  expect(page).toMatch(/more mistakes left out/);
});

test('what is missing or damaged is named, and the rest is shown', async () => {
  const ran = await ranStep(
    step,
    { examples: 0 },
    { metrics: [file(METRICS), file('{')], history: [file('no history')], model: [temporary()], predictions: [temporary()] },
  );
  const page = readFileSync(join(ran.outputs.report!, 'report.html'), 'utf8');
  expect(page).toContain('<section id="missing"');
  expect(page).toMatch(/history cannot be read/);
  expect(page).toMatch(/predictions cannot be read/);
  expect(page).toContain('<section id="summary"');
  expect(page).not.toContain('<section id="training"');
});

test('metrics of another task, and of an older version, are enough', async () => {
  const { outputs } = await ranStep(step, {}, { metrics: [file({ split: 'test', rows: 3, metrics: { rouge1: 0.3, perplexity: 12.5 } })] });
  const page = readFileSync(join(outputs.report!, 'report.html'), 'utf8');
  expect(page).toContain('12.5');
  expect(page).not.toContain('<section id="confusion"');
});

test.each(['html', 'md'])('why metrics have no interval is folded below the figures of the %s page', async (format) => {
  const why = 'all samples are equal';
  const undefinedOnes = Object.fromEntries(['f1.lower', 'f1.upper', 'mcc.lower', 'mcc.upper'].map((name) => [name, why]));
  const metrics = { split: 'test', rows: 3, metrics: { f1: 1, mcc: 1 }, interval: { level: 0.95 }, undefined: undefinedOnes };
  const { outputs } = await ranStep(step, { format }, { metrics: [file(metrics)] });
  const page = readFileSync(join(outputs.report!, `report.${format}`), 'utf8');
  expect(page).toMatch(
    /<details>\s*<summary>2 metrics without an interval<\/summary>[^§]*f1, mcc: all samples are equal\.[^§]*<\/details>/,
  );
  expect(page.match(/all samples are equal/g)).toHaveLength(1);
});

test('a gate that is given as a file is part of what failed', async () => {
  const { outputs } = await ranStep(step, { format: 'md' }, await inputs());
  const page = readFileSync(join(outputs.report!, 'report.md'), 'utf8');
  const [, summary] = /## Summary(.*?)\n## /s.exec(page)!;
  expect(summary).toMatch(/^\s*⚠️ 3 limits are missed\./);
  expect(summary).toMatch(/f1 is 0\.91, but must be &#62;= 0\.95: missed by 0\.04/);
  expect(summary).toMatch(/duplicates is 0\.1, but must be &#60;= 0\.05: missed by 0\.05/);
  expect(summary).toMatch(/the test negation: 2 of 10 cases failed/);
});

test('without any input it says what to give', async () => {
  await expect(ranStep(step, {}, {})).rejects.toThrow('the report has no input');
});
