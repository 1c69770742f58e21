/** A custom step (docs/custom-steps.md): reads WordNet's nouns and writes JSON lines with `word`, `definition`, `category` and `kind`. */
import { readFile, writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';
import { nounsOf } from './nouns.ts';

export default defineStep({
  name: 'wordnet',
  version: 2,
  inputs: { nouns: { kind: 'file', description: "WordNet's data.noun." } },
  outputs: { rows: { kind: 'file', description: 'JSON lines.' } },
  options: {},
  async run({ inputs, outputs, log }) {
    const nouns = nounsOf(await readFile(inputs.nouns, 'utf8'));
    if (nouns.length === 0) throw new StepError(`${inputs.nouns} has no line of a noun`, "Give `data.noun` of WordNet's `dict` folder.");
    const rows = nouns.filter(({ kind, definition }) => kind !== undefined && definition !== '');
    log(`${nouns.length} meanings; ${rows.length} have a definition and are a kind of something`);
    await writeFile(outputs.rows!, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  },
});
