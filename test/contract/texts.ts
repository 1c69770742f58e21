/** Texts of all kinds, and a step that records them. */

export const TEXTS = [
  '',
  ' ',
  'trailing space ',
  'a #b',
  '#5',
  '*x',
  '!x',
  '{a',
  '[1, 2',
  '- a',
  'a: b',
  '00501',
  '1.10',
  '12e4567',
  '12345678901234567890',
  'null',
  'True',
  '"quoted"',
  "it's",
  'line\nline\n',
  'cr\r\nand\rcr',
  '\ttab',
  '$HOME $(id) `id` ${x} \\n \\',
  '${{ params.t }} ${{ inputs.all }} ${{',
  '}}',
  '%s %d',
  '~/x',
  '-n',
  '🙂 é e\u0301 \u200b \ufeff',
  '\x1b[31mred\x07',
  `${'0123456789'.repeat(1000)}#`,
];

export const names = TEXTS.map((_, i) => `t${i}`);

export const STEP = `import { writeFileSync } from 'node:fs';
import { defineStep } from 'tunesmith';
const names = ${JSON.stringify(names)};
export default defineStep({
  name: 'own', version: 1, options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])), outputs: { o: 'file' },
  run: ({ options, outputs }) => writeFileSync(outputs.o!, JSON.stringify(names.map((name) => (options as any)[name]))),
});
`;
