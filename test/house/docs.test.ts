/** What the docs promise is there, and what is there is in the docs. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { reference } from '../../docs/make-reference.ts';
import { fileSchema, optionsSchema, stepSchema } from '../../engine/pipeline/schema.ts';
import { checkSchema } from '../../engine/pipeline/schema-check.ts';
import { builtin, builtinNames } from '../../steps/registry.ts';

const root = resolve(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'))
    .filter((f) => f.endsWith('.md'))
    .map((f) => `docs/${f}`),
  'pipelines/models/tunesmith-small/README.md',
  'pipelines/models/tunesmith-small/data-card.md',
];

test('docs/reference.md is what the schemas say (npm run docs)', async () => {
  expect(read('docs/reference.md')).toBe(await reference());
});

test('every schema of ours is a valid JSON Schema, which a run takes for granted', async () => {
  for (const schema of [stepSchema, fileSchema]) await expect(checkSchema(schema)).resolves.toBeUndefined();
  for (const name of builtinNames()) await expect(checkSchema(optionsSchema((await builtin(name))!)), name).resolves.toBeUndefined();
});

test('every option, input and output of every step says what it is', async () => {
  const silent: string[] = [];
  for (const name of builtinNames()) {
    const step = (await builtin(name))!;
    if (!step.description) silent.push(name);
    for (const part of ['options', 'inputs', 'outputs'] as const) {
      for (const [key, what] of Object.entries(step[part] ?? {})) if (!(what as any).description) silent.push(`${name}.${part}.${key}`);
    }
  }
  expect(silent).toEqual([]);
});

test('links between pages lead to files and headings that exist', () => {
  const dead = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)]
      .filter(([, to, heading]) => {
        const target = to === '' ? page : join(dirname(page), to!);
        return !existsSync(join(root, target)) || (heading !== undefined && !headingIds(target).includes(heading));
      })
      .map(([link]) => `${page} → ${link}`),
  );
  expect(dead).toEqual([]);
});

/** The anchors that GitHub makes of the headings of a page. */
function headingIds(page: string): string[] {
  const headings = [
    ...read(page)
      .replace(/^```[\s\S]*?^```/gm, '')
      .matchAll(/^#+ (.+)$/gm),
  ].map((m) => m[1]!);
  return headings.map((text) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );
}

test('no sentence of the docs begins with "Of"', () => {
  const inverted = pages.flatMap((page) =>
    [...read(page).matchAll(/(?:^|[.:;|] |^- )Of [a-z0-9`].*/gm)].map(([sentence]) => `${page}: ${sentence}`),
  );
  expect(inverted).toEqual([]);
});

test('the README names the commands that CI runs', () => {
  expect(read('README.md')).toContain('npm ci && npm run demo');
  expect(read('README.md')).toContain('npm test');
  expect(read('.ci/run')).toMatch(/npm ci /);
  expect(read('.ci/run')).toMatch(/npm run --silent demo/);
});

test('the commands that the docs show exist', () => {
  const cli = read('engine/commands/command-line.ts');
  // In a code block the command begins a line; elsewhere it follows a backtick.
  const code = pages.flatMap((page) => [...read(page).matchAll(/^```[\s\S]*?^```|`[^`\n]+`/gm)].map(([text]) => text));
  const shown = new Set(code.flatMap((text) => [...text.matchAll(/(?:^|`)tunesmith ([a-z-]+)/gm)].map((m) => m[1]!)));
  expect([...shown].filter((command) => !new RegExp(`['"\`]${command}\\b`).test(cli))).toEqual([]);
});
