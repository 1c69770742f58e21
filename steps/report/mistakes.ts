/** The worst mistakes with token attributions, examples of each cell of the confusion matrix, and generated texts. */

import type { Confusion } from './classification.ts';
import { type Block, count, counted, note, type Section, visible } from './document.ts';
import { type Explain, examplesOf } from './explain.ts';
import type { PredictionTable } from './predictions.ts';

/** The anchor of the examples of a cell. */
export const cellAnchor = (row: number, column: number): string => `cell-${row}-${column}`;

/** The cells of the confusion matrix that have examples in the report: the most frequent mistakes. */
export function cellsWithExamples({ counts }: Confusion, examples: number): { row: number; column: number; rows: number }[] {
  if (examples === 0) return [];
  const cells = (counts ?? []).flatMap((counted, row) => counted.map((rows, column) => ({ row, column, rows })));
  return cells
    .filter(({ row, column, rows }) => row !== column && rows > 0)
    .sort((a, b) => b.rows - a.rows)
    .slice(0, MOST_CELLS);
}

const MOST_CELLS = 16;

interface MistakesOptions {
  rows: PredictionTable;
  confusion: Confusion | undefined;
  explain: Explain | undefined;
  /** How many mistakes are listed. */
  examples: number;
}

export async function mistakesSection({ rows, confusion, explain, examples }: MistakesOptions): Promise<Section | undefined> {
  if (rows.kind === 'other' && !rows.columns.has('correct')) return undefined;
  const wrong = await rows.wrong();
  const blocks: Block[] = [];
  const worst = examples === 0 ? [] : await rows.worst(examples);
  if (wrong === 0) blocks.push(note(`All ${count(rows.rows)} predictions are correct.`, 'good'));
  else if (worst.length > 0) {
    if (explain) blocks.push(note(LEGEND));
    else if (rows.texts.length === 0 && !rows.columns.has('words'))
      blocks.push(
        note('The texts are not known: give `data` (the table that the tokens were made of) to evaluate, and the predictions have them.'),
      );
    blocks.push({
      kind: 'examples',
      heading: wrong === undefined ? 'Predictions with the highest loss' : 'Mistakes with the highest loss',
      examples: await examplesOf(worst, explain),
      ...(wrong !== undefined &&
        wrong > worst.length && {
          more: `${counted(wrong - worst.length, 'more mistake')} left out. List them: tunesmith show CELL.predictions --sort loss --desc`,
        }),
    });
  }
  for (const { row, column, rows: total } of confusion?.counts ? cellsWithExamples(confusion, examples) : []) {
    const [label, prediction] = [confusion!.labels[row]!, confusion!.labels[column]!];
    const shown = await rows.cell(label, prediction, PER_CELL);
    blocks.push({
      kind: 'examples',
      id: cellAnchor(row, column),
      heading: `“${visible(label)}” predicted as “${visible(prediction)}”: ${counted(total, 'row')}`,
      examples: await examplesOf(shown, explain),
      ...(total > shown.length && { more: `${counted(total - shown.length, 'more row')} left out.` }),
    });
  }
  return blocks.length === 0 ? undefined : { id: 'mistakes', title: 'Worst mistakes', blocks };
}

const PER_CELL = 3;

const LEGEND =
  'Blue, underlined tokens raise the score of the predicted label; orange tokens with a dashed line lower it. The strength of a color is the attribution of the token (gradient × input of the word embeddings) relative to the strongest token of the text. The strongest tokens are also listed below each text.';

/** Texts that a model wrote, and other samples. */
export async function samplesSection(
  rows: PredictionTable | undefined,
  samples: readonly { name: string; text: string }[],
  generated: readonly { prompt: string; text: string }[],
): Promise<Section | undefined> {
  const blocks: Block[] = [];
  if (rows && rows.kind === 'other' && rows.columns.has('prediction') && !rows.columns.has('score') && !rows.columns.has('words')) {
    const some = await rows.some(SAMPLES);
    if (some.length > 0)
      blocks.push({
        kind: 'examples',
        heading: 'Texts that the model wrote, and their targets',
        examples: some.map(({ id, label, prediction, texts }) => ({
          facts: [['id', id]],
          fields: [
            ...Object.entries(texts).map(([name, text]) => ({ name, parts: [{ text: clipped(text) }] })),
            { name: 'target', parts: [{ text: clipped(label) }] },
            { name: 'generated', parts: [{ text: clipped(prediction) }] },
          ],
          notes: [],
        })),
        ...(rows.rows > some.length && { more: `${counted(rows.rows - some.length, 'more row')} left out.` }),
      });
  }
  if (generated.length > 0)
    blocks.push({
      kind: 'examples',
      heading: 'Texts that the model wrote for prompts',
      examples: generated.map(({ prompt, text }) => ({
        facts: [],
        fields: [
          { name: 'prompt', parts: [{ text: clipped(prompt) }] },
          { name: 'generated', parts: [{ text: clipped(text) }] },
        ],
        notes: [],
      })),
    });
  for (const { name, text } of samples) {
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    blocks.push({
      kind: 'examples',
      heading: name,
      examples: lines.slice(0, SAMPLES).map((line) => ({ facts: [], fields: sampleFields(line), notes: [] })),
      ...(lines.length > SAMPLES && { more: `${counted(lines.length - SAMPLES, 'more line')} left out.` }),
    });
  }
  return blocks.length === 0 ? undefined : { id: 'samples', title: 'Generated samples', blocks };
}

const SAMPLES = 12;

const clipped = (text: string): string => (text.length > 600 ? `${text.slice(0, 600).toWellFormed()} …` : text);

/** A line of JSON, such as `generate --file` prints, as its fields; another line as text. */
function sampleFields(line: string): { name?: string; parts: { text: string }[] }[] {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return Object.entries(value).map(([name, field]) => ({
        name,
        parts: [{ text: clipped(typeof field === 'string' ? field : JSON.stringify(field)) }],
      }));
  } catch {
    // It is text.
  }
  return [{ parts: [{ text: clipped(line) }] }];
}
