/** The worst mistakes with token attributions, and examples of each kind of confusion. */

import type { ConfusedGroup } from './confusion.ts';
import { type Block, count, counted, note, type Section } from './document.ts';
import { type Explain, examplesOf } from './explain.ts';
import type { PredictedExample, PredictionTable } from './predictions.ts';

interface MistakesOptions {
  rows: PredictionTable;
  groups: readonly ConfusedGroup[];
  explain: Explain | undefined;
  /** How many mistakes are listed. */
  examples: number;
}

export async function mistakesSection({ rows, groups, explain, examples }: MistakesOptions): Promise<Section | undefined> {
  if (examples === 0 || (rows.kind === 'other' && !rows.columns.has('correct'))) return undefined;
  const language = rows.kind === 'tokens';
  if (language && rows.texts.length === 0) return undefined;
  const wrong = await rows.wrong();
  const worst = wrong === 0 ? [] : await rows.worst(examples);
  const shownGroups: { group: ConfusedGroup; shown: PredictedExample[] }[] = [];
  for (const group of groups) shownGroups.push({ group, shown: await rows.confused(group.how, PER_GROUP) });
  // One call, because a model that explains is slow to open.
  const mistakes = [...worst, ...shownGroups.flatMap(({ group, shown }) => (group.right ? [] : shown))];
  const written = await examplesOf(mistakes, rows.kind, explain);
  const blocks: Block[] = [];
  if (wrong === 0) blocks.push(note(`All ${count(rows.rows)} predictions are correct.`, 'good'));
  else if (worst.length > 0) {
    const meaning = explain && LEGENDS[rows.kind];
    if (meaning !== undefined) blocks.push(note(meaning));
    if (rows.kind === 'tags') blocks.push(note('Underlined words have a wrong tag.'));
    if (!explain && rows.texts.length === 0 && rows.kind !== 'tags')
      blocks.push(
        note('The texts are not known: give `data` (the table that the tokens were made of) to evaluate, and the predictions have them.'),
      );
    blocks.push({
      kind: 'examples',
      heading: wrong !== undefined ? 'Mistakes with the highest loss' : `${language ? 'Texts' : 'Predictions'} with the highest loss`,
      examples: worst.map((example) => written.get(example)!),
      ...leftOut(wrong, rows.rows, worst.length),
    });
  }
  for (const { group, shown } of shownGroups) {
    const own = group.right ? await examplesOf(shown, rows.kind, undefined) : written;
    blocks.push({
      kind: 'examples',
      id: group.id,
      heading: group.heading,
      examples: shown.map((example) => own.get(example)!),
      ...(group.rows > shown.length && { more: `The ${counted(shown.length, 'row')} with the highest loss.` }),
    });
  }
  const title = language ? 'Least expected texts' : wrong === undefined ? 'Worst predictions' : 'Worst mistakes';
  return blocks.length === 0 ? undefined : { id: 'mistakes', title, blocks };
}

function leftOut(wrong: number | undefined, rows: number, shown: number): { more?: string } {
  const left = (wrong ?? rows) - shown;
  if (left <= 0) return {};
  const noun = wrong === undefined ? 'more row' : 'more mistake';
  return { more: `${counted(left, noun)} left out. List them: tunesmith show CELL.predictions --sort loss` };
}

const PER_GROUP = 3;

const legend = (what: string): string =>
  `Blue, underlined tokens raise ${what}; orange tokens with a dashed line lower it. The strength of a color is the attribution of the token (gradient × input of the word embeddings) relative to the strongest token of the text. The strongest tokens are also listed below each text.`;

const LEGENDS: Partial<Record<PredictionTable['kind'], string>> = {
  label: legend('the score of the predicted label'),
  labels: legend('the score of the first label below the text, which was predicted wrongly or missed'),
  number: legend('the predicted number'),
};
