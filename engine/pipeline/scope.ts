/** Resolves the expressions of one cell, in values and in commands, and reports its errors. */

import { sha256 } from '../../cache/digest.ts';
import type { Cell, InputSource } from '../contract/cell.ts';
import { compareBytes } from '../format/scalars.ts';
import type { Draft, Drafts, ParseContext, Point, Step, Steps } from './drafts.ts';
import { type Expression, type ExpressionScope, type ExpressionValue, resolveExpressions, UNKNOWN } from './interpolate.ts';
import { isTreeMap, Literal, scalarText, type Tree } from './literals.ts';
import { locateValue, matrixValue } from './matrix.ts';
import { displayValue } from './schema-check.ts';
import { type CommandExpression, matchesOf, misplaced, parseCommand, pathWord, word } from './shell.ts';
import type { Path, SourcePath } from './source.ts';

/** An input that is an output of another cell. */
export type OutputSource = InputSource & { kind: 'output' };

/** Values with reported errors are UNKNOWN. Inputs and outputs of the cell are known after they have been drafted. */
export class CellScope implements ExpressionScope {
  /** Inputs that are a list, a glob or use [*], and therefore become several words in a command. */
  lists?: Set<string>;
  /** The values of expressions in commands and variables, by their texts. */
  expressionTexts?: Record<string, string>;

  constructor(
    readonly cell: Cell,
    readonly step: Step,
    readonly point: Point,
    readonly steps: Steps,
    readonly drafts: Drafts,
    readonly context: ParseContext,
  ) {}

  addList(role: string): void {
    this.lists ??= new Set();
    this.lists.add(role);
  }

  /** For the report of what changed: the text that an expression stands for. */
  recordText(source: string, text: string): void {
    // Long values, such as a list of a thousand paths, are shortened. The command contains them in full.
    this.expressionTexts ??= {};
    this.expressionTexts[source] = text.length <= 500 ? text : `${text.slice(0, 200)}… (${sha256(text).slice(0, 12)})`;
  }

  evaluate(expression: Expression, path: Path): ExpressionValue {
    const { reference, names } = expression;
    switch (reference?.kind) {
      case 'params':
        return this.context.params.value(reference.keys);
      case 'matrix': {
        const found = matrixValue(this.point.matrix, reference.keys);
        if ('value' in found) return found.value;
        // A dimension that no cell has is reported once for the step.
        if (!this.point.broken && this.step.dimensions.has(reference.keys[0]!)) {
          const message = `${found.missing} in the cell ${this.cell.name}`;
          this.context.reportForCell(this.cell, this.context.source.diagnostic(path, 'value', message, found.hint, names[found.depth]));
        }
        return UNKNOWN;
      }
      case 'npm':
        return this.context.environment.packageFolder(reference.package) ?? UNKNOWN;
      case 'steps': {
        const sources = this.producedOutputs(reference);
        if (!sources) return UNKNOWN;
        const paths = sources.map(({ path }) => this.context.relative(path));
        return reference.gather ? paths : paths[0]!;
      }
      case 'inputs': {
        const input = this.cell.inputs[reference.role];
        if (!input || !Object.hasOwn(this.cell.inputs, reference.role)) return UNKNOWN;
        const remote = input.sources.find((source) => source.kind === 'remote');
        if (remote && path[2] === 'env') {
          const hint = `Write \${{ inputs.${reference.role} }} in \`run\`.`;
          this.reportExpression(
            expression,
            path,
            `the path of the download ${remote.address.text} is known only when the cell starts`,
            hint,
          );
          return UNKNOWN;
        }
        const paths = input.sources.map((source) => this.#nameOf(source));
        return this.lists?.has(reference.role) ? paths : (paths[0] ?? UNKNOWN);
      }
      case 'outputs': {
        const { outputs } = this.cell;
        return Object.hasOwn(outputs, reference.name) ? this.context.relative(outputs[reference.name]!.path) : UNKNOWN;
      }
      default:
        return UNKNOWN;
    }
  }

  #nameOf(source: InputSource): string {
    if (source.kind === 'remote') return source.address.text;
    return source.kind === 'output' ? this.context.relative(source.path) : source.pattern;
  }

  reportExpression(expression: Expression, path: Path, message: string, hint: string): void {
    this.context.reportForCell(this.cell, this.context.source.diagnostic(path, 'value', message, hint, expression.whole));
  }

  /** The outputs that a reference selects, in the order of the cells' names; undefined if there is an error. */
  producedOutputs({ step: name, output, gather }: { step: string; output: string; gather: boolean }): OutputSource[] | undefined {
    const producer = this.steps.get(name);
    if (!producer || !this.drafts.has(producer)) return undefined; // missing or part of a cycle, which has been reported
    const cells = gather ? sortedByName(this.drafts.get(producer)!) : [this.point.parents.get(producer)];
    const sources: OutputSource[] = [];
    for (const draft of cells) {
      if (!draft || !Object.hasOwn(draft.cell.outputs, output)) return undefined;
      sources.push({ kind: 'output', cell: draft.cell.name, output, path: draft.cell.outputs[output]!.path, matrix: draft.cell.matrix });
    }
    return sources;
  }

  resolve(value: Tree, path: Path): ExpressionValue {
    return resolveExpressions(value, [...this.step.path, ...path], this);
  }

  locate(path: Path): SourcePath {
    return locateValue(this.step, path, this.context, this.point.places);
  }

  report({ source, path }: SourcePath, message: string, hint?: string): void {
    this.context.reportForCell(this.cell, source.diagnostic(path, 'value', message, hint));
  }
}

const sorted = new WeakMap<Draft[], Draft[]>();

function sortedByName(drafts: Draft[]): Draft[] {
  let found = sorted.get(drafts);
  if (!found) {
    found = [...drafts].sort((a, b) => compareBytes(a.cell.name, b.cell.name));
    sorted.set(drafts, found);
  }
  return found;
}

/** Fills in the expressions of a command as safely quoted words. */
export function renderCommand(text: string, path: Path, shell: 'sh' | 'bash', scope: CellScope): string {
  const { parts } = parseCommand(text, shell);
  const command = parts.map((part) => (typeof part === 'string' ? part : renderExpression(part, path, scope))).join('');
  if (command.includes('\0')) scope.report(scope.locate(path), 'a command cannot hold a NUL character');
  return command;
}

function renderExpression(part: CommandExpression, path: Path, scope: CellScope): string {
  const { expression, context, alone, redirected } = part;
  const { reference, source } = expression;
  const at = [...scope.step.path, ...path];
  const wrong = (message: string, hint: string) => {
    scope.reportExpression(expression, at, message, hint);
    return '';
  };
  const problem = expression.mistake ? undefined : misplaced(part);
  if (problem) return wrong(problem.message, problem.hint);
  const value = scope.evaluate(expression, at);
  if (value === UNKNOWN) return '';
  const list = Array.isArray(value);
  const values = list ? value : [value];
  const odd = values.find((one) => one === null || Array.isArray(one) || isTreeMap(one));
  if (odd !== undefined) {
    const what = `${list ? 'a list with ' : ''}${displayValue(odd)}`;
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
  if (context === 'arithmetic' && !texts.every(isShellInteger)) {
    return wrong(
      `${source} is ${displayValue(value)}, which is not a number that the shell can calculate with`,
      '$((…)) accepts only integers from -2^63 to 2^63 - 1.',
    );
  }
  scope.recordText(source, scalars.map(scalarText).join(' '));
  return texts.map((one) => word(one, redirected)).join(' ');
}

/** A number inside $((…)), where the shell reads 010 as octal and rejects 1e3. */
function numeral(value: string | number | boolean | Literal): string {
  return value instanceof Literal ? String(value.value) : scalarText(value);
}

/** Whether $((…)) can represent the number. A larger one would silently wrap around. */
function isShellInteger(text: string): boolean {
  if (!/^[-+]?(0x[\da-f]+|\d+)$/i.test(text)) return false;
  const size = BigInt(text.replace(/^[-+]/, ''));
  return size < 2n ** 63n || (size === 2n ** 63n && text.startsWith('-'));
}

/** Files that are known only when the cell starts: matches of a glob, which another cell may make, and downloads. */
function isKnownLater(role: string, { cell }: CellScope): boolean {
  return cell.inputs[role]!.sources.some((source) => source.kind === 'remote' || (source.kind === 'path' && source.glob));
}
