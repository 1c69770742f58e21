/** Texts that a model wrote: those of the predictions, continuations that it writes for the report, and given samples. */

import type { StepContext } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { tableOf } from '../ml/data/table.ts';
import { type Block, beginning, counted, note, type Section } from './document.ts';
import type { PredictionTable } from './predictions.ts';

/** A text of a language model. `target`: how the text goes on in the data, if that is known. */
export interface Continuation {
  prompt: string;
  text: string;
  target?: string;
}

export async function samplesSection(
  rows: PredictionTable | undefined,
  continuations: readonly Continuation[],
  samples: readonly { name: string; lines: readonly string[] }[],
): Promise<Section | undefined> {
  const blocks: Block[] = [];
  if (rows?.kind === 'written') {
    const some = await rows.some(SAMPLES);
    blocks.push({
      kind: 'examples',
      heading: 'Texts that the model wrote, and their targets',
      examples: some.map(({ id, truth, predicted, texts }) => ({
        facts: [['id', id]],
        fields: [...Object.entries(texts), ['target', truth.join(' / ')], ['generated', predicted.join(' / ')]].map(fieldOf),
        notes: [],
      })),
      ...(rows.rows > some.length && { more: `${counted(rows.rows - some.length, 'more row')} left out.` }),
    });
  }
  if (continuations.length > 0)
    blocks.push(note(`The model wrote these texts for the report, as “tunesmith generate” does, with at most ${NEW_TOKENS} new tokens.`), {
      kind: 'examples',
      heading: 'Texts that the model continues',
      examples: continuations.map(({ prompt, text, target }) => ({
        facts: [],
        fields: [['prompt', prompt], ['generated', text], ...(target === undefined ? [] : [['in the data', target]])].map(fieldOf),
        notes: [],
      })),
    });
  for (const { name, lines } of samples)
    blocks.push({
      kind: 'examples',
      heading: name,
      examples: lines.slice(0, SAMPLES).map((line) => ({ facts: [], fields: sampleFields(line), notes: [] })),
      ...(lines.length > SAMPLES && { more: `${counted(lines.length - SAMPLES, 'more line')} left out.` }),
    });
  return blocks.length === 0 ? undefined : { id: 'samples', title: 'Generated samples', blocks };
}

const SAMPLES = 12;

const fieldOf = ([name, text]: readonly string[]) => ({
  name: name!,
  parts: [{ text: text === '' ? '(empty)' : beginning(text!, LONGEST) }],
});

const LONGEST = 600;

/** A line of JSON, such as `generate --file` prints, as its fields; another line as text. */
function sampleFields(line: string): { name?: string; parts: { text: string }[] }[] {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return Object.entries(value).map(([name, field]) => fieldOf([name, typeof field === 'string' ? field : JSON.stringify(field)]));
  } catch {
    // It is text.
  }
  return [{ parts: [{ text: beginning(line, LONGEST) }] }];
}

/* What a language model writes for the report. */

interface Source {
  rows: PredictionTable | undefined;
  /** Tables that may have texts, the most likely one first. */
  tables: readonly string[];
  split: string | undefined;
}

/**
 * Continues prompts of the split, or beginnings of its texts, with a causal language model. Undefined if the model has another task.
 */
export async function continuations(
  folder: string,
  source: Source,
  { threads, signal, runtime }: Pick<StepContext, 'threads' | 'signal'> & { runtime: 'auto' | 'onnx' | 'tensorflow' | 'eager' },
): Promise<Continuation[] | undefined> {
  const { readConfig } = await import('../ml/models/model-folder.ts');
  const { taskOf } = await import('../ml/models/config.ts');
  if (taskOf(await readConfig(folder), folder) !== 'causal-lm') return undefined;
  const { readEncoding } = await import('../ml/tasks/encoder.ts');
  const column = (await readEncoding(folder)).fields?.text ?? 'text';
  const texts = await textsOf(source, column);
  if (texts.length === 0) throw new Error(`no table has texts in a column “${column}”`);
  const { openGenerator } = await import('../ml/generation/generator.ts');
  const { openRuntime } = await import('../ml/device/open.ts');
  const generator = await openGenerator(folder, await openRuntime(runtime, { threads }));
  const options = { max_new_tokens: NEW_TOKENS, num_return_sequences: 1 };
  const encode = (text: string) => generator.encode(text, options, { cleaned: true });
  try {
    const found: Continuation[] = [];
    let refused: unknown;
    const prompts = await arePrompts(texts, encode);
    for (const { text, completion } of texts) {
      signal.throwIfAborted();
      if (found.length === CONTINUED) break;
      const prompt = prompts ? text : beginningOf(text);
      if (found.some((one) => one.prompt === prompt)) continue;
      const target = prompts ? completion : text.slice(prompt.length);
      try {
        const [written] = await generator.generate([await encode(prompt)], options, { signal });
        found.push({ prompt, text: written!.text, ...(target !== undefined && { target }) });
      } catch (error) {
        refused = error;
      }
    }
    signal.throwIfAborted();
    if (found.length === 0) throw refused;
    return found;
  } finally {
    await generator.close();
  }
}

const NEW_TOKENS = 40;

interface SourceText {
  text: string;
  /** How many tokens of its example the model had to predict, if that is known. */
  tokens: number | null;
  /** What follows a prompt in the data. */
  completion?: string | undefined;
}

/** Texts of the predictions, or otherwise of the same split of a table: examples of blocks are not rows of a table. */
async function textsOf({ rows, tables, split }: Source, column: string): Promise<SourceText[]> {
  const own = rows?.texts.includes(column) ? await rows.some(4 * CONTINUED) : [];
  const texts = own.flatMap(({ texts: { [column]: text, completion }, tokens }) => (text?.trim() ? [{ text, completion, tokens }] : []));
  if (texts.length > 0) return texts;
  const database = await Database.open();
  try {
    for (const table of tables) {
      const columns = new Set((await database.columns(tableOf(table))).map(({ name }) => name));
      if (!columns.has(column)) continue;
      const inSplit = columns.has('split') && split !== undefined ? ` AND split = ${literal(split)}` : '';
      const found = await database.rows<{ text: string }>(
        `SELECT left(${quote(column)}::VARCHAR, 2000) AS text FROM ${tableOf(table)} WHERE trim(${quote(column)}::VARCHAR) <> ''${inSplit} ORDER BY hash(id), id LIMIT ${CONTINUED}`,
      );
      if (found.length > 0) return found.map(({ text }) => ({ text, tokens: null }));
    }
    return [];
  } finally {
    database.close();
  }
}

const CONTINUED = 6;

/** Of a prompt, the model had to predict other tokens than its own. Each window of a text lacks its first token. */
async function arePrompts(texts: readonly SourceText[], encode: (text: string) => Promise<readonly number[]>): Promise<boolean> {
  for (const { text, tokens } of texts) {
    if (tokens === null) continue;
    const { length } = await encode(text).catch(() => []);
    if (length > 0 && (tokens > length || tokens < length - Math.ceil(length / 8))) return true;
  }
  return false;
}

/** At most half of a text, which ends with a whole word if it has several. */
function beginningOf(text: string): string {
  const most = Math.min(60, Math.ceil(text.length / 2));
  const words = /^\s*\S[\s\S]*(?=\s)/.exec(text.slice(0, most + 1))?.[0].trimEnd();
  return words ?? text.slice(0, most).toWellFormed();
}
