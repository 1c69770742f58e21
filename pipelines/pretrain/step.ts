/** A custom step: reads the packages' texts and writes JSON lines of passages with `id`, `text`, `source` and `document`. */
import { createWriteStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import picomatch from 'picomatch';
import { Tokenizer } from 'tokenizers';
import { defineStep, StepError } from 'tunesmith';
import { paragraphsOf } from './formats.ts';
import { type Passage, Passages } from './passages.ts';
import { type Source, sources } from './sources.ts';

export default defineStep({
  name: 'passages',
  version: 1,
  description: 'Packs the English prose of packages into passages.',
  inputs: {
    packages: { kind: 'folder', description: 'A folder for each package.' },
    model: { kind: 'folder', description: 'Its tokenizer counts the tokens.' },
  },
  outputs: { rows: { kind: 'file', description: 'JSON lines.' } },
  options: {
    tokens: { type: 'integer', minimum: 8, default: 126, description: 'The maximum number of tokens of a passage.' },
    characters: {
      type: 'integer',
      minimum: 1000,
      default: 6_000_000,
      description: 'The maximum number of characters of one package, so that none prevails.',
    },
  },
  libraries: ['tokenizers', 'html-to-text'],
  async run({ options, inputs, outputs, log, metric }) {
    const tokenizer = Tokenizer.fromString(await readFile(path.join(inputs.model, 'tokenizer.json'), 'utf8'));
    tokenizer.disablePadding();
    tokenizer.disableTruncation();
    const passages = new Passages(async (sentences) => {
      const encodings = await tokenizer.encodeBatch(sentences, { addSpecialTokens: false });
      return encodings.map((encoding) => encoding.getLength());
    }, options.tokens);
    const rows = createWriteStream(outputs.rows!);
    let characters = 0;
    for (const name of new Set(sources.map((source) => source.package))) {
      const found: Passage[] = [];
      for (const source of sources.filter((one) => one.package === name))
        found.push(...(await passagesOf(inputs.packages, source, passages)));
      if (found.length === 0)
        throw new StepError(`the package ${name} contains no text that sources.ts names`, 'Compare its files with sources.ts.');
      const kept = sampled(found, options.characters);
      for (const row of kept) rows.write(`${JSON.stringify(row)}\n`);
      const size = kept.reduce((sum, { text }) => sum + text.length, 0);
      characters += size;
      log(`${name}: ${kept.length} of ${found.length} passages, ${size} characters`);
    }
    await new Promise<void>((resolve, reject) => rows.on('error', reject).end(resolve));
    metric('characters', characters);
  },
});

async function passagesOf(folder: string, { package: name, files, format }: Source, passages: Passages): Promise<Passage[]> {
  const root = path.join(folder, name);
  const matches = picomatch(files);
  const found = (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .filter((file) => matches(file))
    .sort();
  const all: Passage[] = [];
  for (const file of found) all.push(...(await passages.of(name, file, paragraphsOf(format, await readFile(path.join(root, file))))));
  return all;
}

/** Passages up to a number of characters, chosen by their ids, which are hashes of their texts. */
function sampled(passages: Passage[], characters: number): Passage[] {
  const kept: Passage[] = [];
  let size = 0;
  for (const passage of passages.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    size += passage.text.length;
    if (size > characters) break;
    kept.push(passage);
  }
  return kept;
}
