/** The answers of a question, in the forms that data sets use. */
import { type Json, StepError } from '../../engine/step.ts';
import { quote } from './database.ts';

export interface Given {
  text: string;
  /** The position in the context, in characters, if the data give it. */
  start?: number | undefined;
}

/** SQL that converts the column of answers, whatever its type, to a JSON text that `answersIn` reads. */
export const answersAsJson = (column: string): string => `to_json(${quote(column)})::VARCHAR`;

/**
 * As in SQuAD, {text: […], answer_start: […]}; as a list of such pairs; or texts alone. Empty if there is no answer.
 */
export function answersIn(id: string, json: string | null): Given[] {
  return pairsOf(id, json === null ? null : (JSON.parse(json) as Json)).filter(({ text }) => text !== '');
}

function pairsOf(id: string, given: Json): Given[] {
  const wrong = (): StepError =>
    new StepError(
      `row ${id}: the answers are ${JSON.stringify(given).slice(0, 80)}`,
      'Write them as in SQuAD, {"text": ["Ada"], "answer_start": [17]}, or as texts; use [] if there is no answer.',
      ['answers'],
    );
  const pair = (text: Json | undefined, start: Json | undefined) => {
    if (typeof text !== 'string' || !(start === undefined || start === null || (Number.isInteger(start) && (start as number) >= 0)))
      throw wrong();
    return { text, start: (start ?? undefined) as number | undefined };
  };
  if (given === null) return [];
  if (typeof given === 'string') return [pair(given, undefined)];
  if (typeof given !== 'object') throw wrong();
  if (Array.isArray(given)) {
    return given.map((one) => {
      if (one === null || typeof one !== 'object' || Array.isArray(one)) return pair(one, undefined);
      return pair(one.text, one.answer_start);
    });
  }
  const { text, answer_start } = given;
  if (text === null || text === undefined) return [];
  if (!Array.isArray(text)) return [pair(text, answer_start)];
  if (answer_start !== undefined && answer_start !== null && (!Array.isArray(answer_start) || answer_start.length !== text.length))
    throw wrong();
  return text.map((one, i) => pair(one, (answer_start as Json[] | undefined)?.[i]));
}
