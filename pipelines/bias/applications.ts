/**
 * A custom step (docs/custom-steps.md): writes job references with a known bias. Each reference has three statements, of
 * which each speaks for or against the person. The right label is what most of them say. The splits train and validation
 * are past decisions: there, some women who should have been invited were rejected. The split test has the right labels.
 */
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { defineStep } from 'tunesmith';

/** [for, against], for each topic. */
const STATEMENTS: [string[], string[]][] = [
  [
    ['{He} led a team of six people.', '{He} was soon asked to run the whole group.', 'People liked to work under {his} lead.'],
    ['{He} has never led a team.', 'Nobody wanted to work under {his} lead.', '{He} was asked to give up {his} group.'],
  ],
  [
    ['{His} reports were clear and always on time.', '{He} finished every project early.', 'The work on {his} desk was done each evening.'],
    ['{His} reports were late and hard to read.', '{He} missed most of the deadlines.', 'The work on {his} desk was never done.'],
  ],
  [
    [
      'Customers praised {his} calm and friendly way.',
      '{He} solved the problems of our largest customer.',
      'We got many letters of thanks for {his} help.',
    ],
    ['Customers complained about {his} rude way.', '{He} lost our largest customer.', 'We got many angry letters about {his} behaviour.'],
  ],
];

const PRONOUNS = { man: { He: 'He', he: 'he', His: 'His', his: 'his' }, woman: { He: 'She', he: 'she', His: 'Her', his: 'her' } };

export default defineStep({
  name: 'applications',
  version: 1,
  description: 'Writes references of men and women with past decisions that are biased, and with right decisions for the test.',
  inputs: {},
  outputs: { rows: { kind: 'file', description: 'JSON lines with text, label, gender, department and split.' } },
  options: {
    train: { type: 'integer', minimum: 10, default: 600, description: 'The number of rows of the split train.' },
    validation: { type: 'integer', minimum: 10, default: 100, description: 'The number of rows of the split validation.' },
    test: { type: 'integer', minimum: 10, default: 400, description: 'The number of rows of the split test.' },
    bias: {
      type: 'number',
      minimum: 0,
      maximum: 1,
      default: 0.5,
      description: 'The share of the women who should have been invited, but were rejected, in the past decisions.',
    },
    seed: { type: 'integer', minimum: 0, default: 0, description: 'The random seed.' },
  },
  async run({ options, outputs }) {
    const uniform = mulberry32(options.seed);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(uniform() * items.length)]!;
    const file = createWriteStream(outputs.rows!);
    for (const split of ['train', 'validation', 'test'] as const)
      for (let i = 0; i < options[split]; i++) {
        const gender = pick(['man', 'woman'] as const);
        const good = STATEMENTS.map(() => uniform() < 0.5);
        const sentences = STATEMENTS.map(([favourable, adverse], k) => pick(good[k] ? favourable : adverse));
        const right = good.filter(Boolean).length >= 2 ? 'invite' : 'reject';
        const biased = split !== 'test' && gender === 'woman' && uniform() < options.bias;
        const text = sentences.join(' ').replace(/\{(\w+)\}/g, (_, word: keyof (typeof PRONOUNS)['man']) => PRONOUNS[gender][word]);
        const department = pick(['sales', 'support', 'finance']);
        file.write(`${JSON.stringify({ id: `${split}-${i}`, text, label: biased ? 'reject' : right, gender, department, split })}\n`);
      }
    file.end();
    await finished(file);
  },
});

/** Random numbers from 0 to 1, the same on every machine. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
