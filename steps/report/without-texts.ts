/**
 * What a report shows with `examples: 0`: figures, but no text of the data. Examples are removed from the files of steps, and values of
 * columns that hold texts get numbers. Messages of cells are left out, because they may quote the data.
 */

import { type Fields, fieldsOf, isBuiltIn, isFields, listOf, type Material, numberOf, numbersOf, plainText, textOf } from './artifacts.ts';
import { counted } from './document.ts';
import type { RunFacts } from './run.ts';

export function withoutTexts(material: Material): Material {
  const own = material.cards.flatMap(({ file }) => textOf(file.text) ?? []);
  const isText = (column: string) => TEXT_COLUMNS.test(column) || own.includes(column);
  return {
    ...material,
    evaluations: material.evaluations.map((one) => ({ ...one, file: evaluationWithout(one.file, isText) })),
    behavior: material.behavior.map((one) => ({ ...one, file: behaviorWithout(one.file) })),
    checks: material.checks.map((one) => ({ ...one, file: { ...one.file, examples: {} } })),
    cards: material.cards.map((one) => ({ ...one, file: cardWithout(one.file) })),
    samples: [],
  };
}

/** Names of columns of texts, if no model tells them. */
export const TEXT_COLUMNS =
  /^(text|text_pair|body|subject|question|context|prompt|document|sentence\d?|source|title|premise|hypothesis|input)$/i;

/** A longer value is a text. */
const LONGEST_NAME = 60;

type IsText = (column: string) => boolean;

const behaviorWithout = (file: Fields): Fields => ({
  ...file,
  tests: mapped(file.tests, (test) => ({ ...test, examples: [] })),
});

const mapped = (value: unknown, change: (fields: Fields) => Fields): Fields =>
  Object.fromEntries(Object.entries(fieldsOf(value)).map(([name, own]) => [name, isFields(own) ? change(own) : own]));

function evaluationWithout(file: Fields, isText: IsText): Fields {
  return {
    ...file,
    ...(isFields(file.counterfactual) && { counterfactual: { ...file.counterfactual, examples: [] } }),
    ...(isFields(file.slices) && { slices: mapped(file.slices, (report) => slicesWithout(report, isText)) }),
    ...(isFields(file.discovered) && { discovered: discoveredWithout(file.discovered, isText) }),
    ...(isFields(file.fairness) && { fairness: fairnessWithout(file.fairness, isText) }),
  };
}

/** Only slices by the values of a column have names from the data. */
function slicesWithout(report: Fields, isText: IsText): Fields {
  const [, column] = /^column (.*)$/s.exec(textOf(report.by) ?? '') ?? [];
  if (column === undefined) return report;
  const slices = listOf(report.slices).map(fieldsOf);
  const hidden = hiddenValues(
    slices.map(({ slice, rows }) => ({ value: plainText(slice), rows: numberOf(rows) })),
    isText(column),
  );
  const renamed = slices.map((own) => ({ ...own, slice: hidden(plainText(own.slice)) }));
  const isHidden = renamed.some(({ slice }, i) => slice !== plainText(slices[i]!.slice));
  // A reason may name a slice.
  return { ...report, slices: renamed, ...(isHidden && { undefined: null }) };
}

function discoveredWithout(report: Fields, isText: IsText): Fields {
  const slices = listOf(report.slices).map(fieldsOf);
  const where = (columns: unknown) =>
    Object.fromEntries(
      Object.entries(fieldsOf(columns)).map(([column, value]) => [column, hiddenValues([], isText(column))(plainText(value))]),
    );
  return { ...report, slices: slices.map((own) => ({ ...own, where: where(own.where) })) };
}

function fairnessWithout(report: Fields, isText: IsText): Fields {
  const columns = [report.group].flat().map(plainText);
  const left = listOf(report.left_out).map(fieldsOf);
  const groups = [...Object.values(fieldsOf(report.labels)).flatMap((own) => listOf(fieldsOf(own).groups).map(fieldsOf)), ...left];
  const hidden = hiddenValues(
    groups.map(({ group, rows }) => ({ value: plainText(group), rows: numberOf(rows) })),
    columns.some(isText),
  );
  const renamed = (own: Fields) => ({ ...own, group: hidden(plainText(own.group)) });
  const isHidden = groups.some(({ group }) => hidden(plainText(group)) !== plainText(group));
  return {
    ...report,
    labels: mapped(report.labels, (own) => ({ ...own, groups: listOf(own.groups).map((group) => renamed(fieldsOf(group))) })),
    ...(left.length > 0 && { left_out: left.map(renamed) }),
    // The reasons name groups.
    ...(isHidden && { undefined: {} }),
  };
}

/** How values of a column are shown: as numbers if they are texts, which are long or seldom occur twice. */
function hiddenValues(values: { value: string; rows: number | undefined }[], isText: boolean): (value: string) => string {
  const own = values.filter(({ value }) => !SPECIAL.test(value));
  const single = own.filter(({ rows }) => rows === 1).length;
  const all = isText || (own.length > 2 && single > own.length / 2);
  const numbers = new Map<string, number>();
  return (value) => {
    if (SPECIAL.test(value) || (!all && value.length <= LONGEST_NAME)) return value;
    if (!numbers.has(value)) numbers.set(value, numbers.size + 1);
    return `text ${numbers.get(value)}`;
  };
}

/** What evaluate writes instead of a value. */
const SPECIAL = /^\((other|missing)\)$/;

/** Targets of a sequence-to-sequence model are in the column of labels, too. */
function cardWithout(file: Fields): Fields {
  const labels = Object.entries(numbersOf(file.labels));
  const hidden = hiddenValues(
    labels.map(([value, rows]) => ({ value, rows: rows ?? undefined })),
    false,
  );
  if (labels.every(([label]) => hidden(label) === label || isNumber(label))) return file;
  const { labels: _, ...others } = file;
  return others;
}

const isNumber = (label: string): boolean => label.trim() !== '' && Number.isFinite(Number(label));

/* A run. */

const inShell = (name: string): string => (/^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

export function runWithoutTexts(run: RunFacts): RunFacts {
  const kept = run.notices.filter(({ cell }) => cell === undefined);
  const left = run.notices.length - kept.length;
  return {
    ...run,
    cells: run.cells.map((cell) => ({
      ...cell,
      why: cell.why?.replace(/: .*/s, ' …'),
      failure:
        cell.failure === undefined ? undefined : `The message may quote the data. Print it with: tunesmith logs ${inShell(cell.cell)}`,
      result: isBuiltIn(cell.uses) ? cell.result : undefined,
    })),
    notices: [
      ...kept,
      ...(left > 0 ? [{ message: `${counted(left, 'notice')} left out, because notices of cells may quote the data.` }] : []),
    ],
  };
}
