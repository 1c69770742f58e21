/** Fills in the expressions of a command as safely quoted words. */

import { UNKNOWN } from './interpolate.ts';
import { isTreeMap, Literal, scalarText } from './literals.ts';
import { shown } from './schema-check.ts';
import type { CellScope } from './scope.ts';
import { type CommandExpression, matchesOf, misplaced, parseCommand, pathWord, word } from './shell.ts';
import type { Path } from './source.ts';

export function renderCommand(text: string, path: Path, shell: 'sh' | 'bash', scope: CellScope): string {
  const { parts } = parseCommand(text, shell);
  const command = parts.map((part) => (typeof part === 'string' ? part : words(part, path, scope))).join('');
  if (command.includes('\0')) scope.say(scope.place(path), 'a command cannot hold a NUL character');
  return command;
}

function words(part: CommandExpression, path: Path, scope: CellScope): string {
  const { expression, context, alone, redirected } = part;
  const { reference, source } = expression;
  const at = [...scope.step.path, ...path];
  const wrong = (message: string, hint: string) => {
    scope.wrong(expression, at, message, hint);
    return '';
  };
  const problem = expression.mistake ? undefined : misplaced(part);
  if (problem) return wrong(problem.message, problem.hint);
  const value = scope.look(expression, at);
  if (value === UNKNOWN) return '';
  const list = Array.isArray(value);
  const values = list ? value : [value];
  const odd = values.find((one) => one === null || Array.isArray(one) || isTreeMap(one));
  if (odd !== undefined) {
    const what = `${list ? 'a list with ' : ''}${shown(odd)}`;
    return wrong(`${source} is ${what}, which cannot be a word of a command`, 'Use text, a number, true or false.');
  }
  if (list && !alone) {
    return wrong(`${source} is a list, which becomes several words and cannot be part of another word`, 'Put a space before and after it.');
  }
  if (reference?.kind === 'inputs' && isKnownLater(reference.role, scope)) return matchesOf(reference.role);
  const isPath = reference?.kind !== 'params' && reference?.kind !== 'matrix';
  const scalars = values as (string | number | boolean | Literal)[];
  const texts = scalars
    .map((one) => (context === 'arithmetic' ? numeral(one) : scalarText(one)))
    .map((one) => (isPath ? pathWord(one) : one));
  if (context === 'arithmetic' && texts.some((one) => !/^[-+]?(0x[\da-f]+|[\d.]+)$/i.test(one))) {
    return wrong(`${source} is ${shown(value)}, which is not a number that the shell can calculate with`, '$((…)) accepts only numbers.');
  }
  scope.note(source, scalars.map(scalarText).join(' '));
  return texts.map((one) => word(one, redirected)).join(' ');
}

/** A number inside $((…)), where the shell reads 010 as octal and rejects 1e3. */
function numeral(value: string | number | boolean | Literal): string {
  return value instanceof Literal ? String(value.value) : scalarText(value);
}

/** Files that are known only when the cell starts: matches of a glob, which another cell may make, and downloads. */
function isKnownLater(role: string, { cell }: CellScope): boolean {
  return cell.inputs[role]!.sources.some((source) => source.kind === 'remote' || (source.kind === 'path' && source.glob));
}
