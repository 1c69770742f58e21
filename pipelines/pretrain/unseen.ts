/**
 * A custom step: leaves out passages that overlap with the examples of tasks, so that no test example is seen in pre-training. It
 * counts what it leaves out, for each task.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DuckDBInstance } from '@duckdb/node-api';
import { defineStep } from 'tunesmith';
import { Examples, type Overlap, printsOf } from './overlap.ts';

export default defineStep({
  name: 'unseen',
  version: 2,
  description: 'Leaves out passages that overlap with examples of tasks.',
  inputs: {
    rows: { kind: 'file', description: 'JSON lines with `text`.' },
    tasks: { kind: 'any', many: true, description: 'Tables, or JSON lines, whose every text is an example.' },
  },
  outputs: {
    rows: { kind: 'file', description: 'The passages that overlap with no example.' },
    report: { kind: 'file', description: 'The number of examples of each task, and of passages that overlap with them.' },
  },
  options: {
    names: { type: 'array', items: { type: 'string' }, minItems: 1, description: 'The names of the tasks, in the order of `tasks`.' },
  },
  async run({ options, inputs, outputs, log, metric }) {
    const tasks = new Map<string, { examples: Examples; found: Record<Overlap, number> }>();
    for (const [i, place] of inputs.tasks.entries()) {
      const examples = new Examples();
      for await (const text of examplesOf(place)) examples.add(text);
      tasks.set(options.names[i]!, { examples, found: { text: 0, '13 words': 0, sentence: 0 } });
      log(`${options.names[i]}: ${examples.size} texts`);
    }
    const rows = createWriteStream(outputs.rows!);
    const passages = { read: 0, kept: 0 };
    for await (const line of linesOf(inputs.rows)) {
      passages.read += 1;
      const prints = printsOf(JSON.parse(line).text);
      let overlaps = false;
      for (const { examples, found } of tasks.values()) {
        const overlap = examples.overlap(prints);
        if (overlap === undefined) continue;
        overlaps = true;
        found[overlap] += 1;
      }
      if (overlaps) continue;
      passages.kept += 1;
      rows.write(`${line}\n`);
    }
    await new Promise<void>((resolve, reject) => rows.on('error', reject).end(resolve));
    const report = {
      passages: { ...passages, left_out: passages.read - passages.kept },
      tasks: Object.fromEntries(
        [...tasks].map(([name, { examples, found }]) => [name, { texts: examples.size, overlapping_passages: found }]),
      ),
    };
    await writeFile(outputs.report!, `${JSON.stringify(report, null, 2)}\n`);
    metric('left_out', passages.read - passages.kept);
  },
});

const linesOf = (file: string) => createInterface({ input: createReadStream(file), crlfDelay: Infinity });

/** Every text of a table or of a file of JSON lines, in whichever column. */
async function* examplesOf(place: string): AsyncGenerator<string> {
  if (!(await stat(place)).isDirectory()) {
    for await (const line of linesOf(place)) yield* textsIn(JSON.parse(line));
    return;
  }
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const result = await connection.stream(
    `SELECT COLUMNS(*)::VARCHAR FROM read_parquet('${path.join(place, 'data.parquet').replaceAll("'", "''")}')`,
  );
  for (;;) {
    const chunk = await result.fetchChunk();
    if (!chunk || chunk.rowCount === 0) return;
    for (const row of chunk.getRows()) yield* textsIn(row);
  }
}

function* textsIn(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (Array.isArray(value)) {
    for (const one of value) yield* textsIn(one);
    // The words of a sentence.
    if (value.length > 1 && value.every((one) => typeof one === 'string')) yield value.join(' ');
  } else if (typeof value === 'object' && value !== null) yield* textsIn(Object.values(value));
}
