/**
 * What a report shows with `examples: 0`: figures, but no text of the data. Examples are removed from the files of steps, and values of
 * columns that hold texts get numbers. Messages of cells are left out, because they may quote the data.
 */

import { type Fields, fieldsOf, isBuiltIn, isFields, listOf, type Material, numberOf, numbersOf, plainText, textOf } from './artifacts.ts';
import { counted } from './document.ts';
import type { RunFacts } from './run.ts';

export function withoutTexts(material: Material): Material {
  const own = material.cards.flatMap(({ file }) => textOf(file.text) ?? []);
  const hiding = new Hiding((column) => TEXT_COLUMNS.test(column) || own.includes(column));
  return {
    ...material,
    evaluations: material.evaluations.map((one) => ({ ...one, file: evaluationWithout(one.file, hiding) })),
    behavior: material.behavior.map((one) => ({ ...one, file: behaviorWithout(one.file) })),
    checks: material.checks.map((one) => ({ ...one, file: { ...one.file, examples: {} } })),
    calibrations: material.calibrations.map((one) => ({ ...one, file: calibrationWithout(one.file, hiding) })),
    verdicts: material.verdicts.map((one) => ({ ...one, file: verdictWithout(one.file) })),
    cards: material.cards.map((one) => ({ ...one, file: cardWithout(one.file) })),
    samples: [],
  };
}

/** Names of columns of texts, if no model tells them. */
export const TEXT_COLUMNS =
  /^(text|text_pair|body|subject|question|context|prompt|document|sentence\d?|source|title|premise|hypothesis|input)$/i;

/** A longer value is a text. */
const LONGEST_NAME = 60;

/** Which values are texts. The same value of a column has the same number in the whole report. */
class Hiding {
  readonly #numbers = new Map<string, Map<string, number>>();

  constructor(readonly isText: (column: string) => boolean) {}

  /** How values of columns are shown: as numbers if they are texts, which are long or seldom occur twice. */
  of(columns: string[], values: { value: string; rows?: number | undefined }[]): (value: string) => string {
    const own = values.filter(({ value }) => !SPECIAL.test(value));
    const single = own.filter(({ rows }) => rows === 1).length;
    const all = columns.some(this.isText) || (own.length > 2 && single > own.length / 2);
    return (value) => (SPECIAL.test(value) || (!all && value.length <= LONGEST_NAME) ? value : `text ${this.#number(columns, value)}`);
  }

  #number(columns: string[], value: string): number {
    const key = JSON.stringify(columns);
    const numbers = this.#numbers.get(key) ?? new Map<string, number>();
    this.#numbers.set(key, numbers);
    if (!numbers.has(value)) numbers.set(value, numbers.size + 1);
    return numbers.get(value)!;
  }
}

/** What evaluate writes instead of a value. */
const SPECIAL = /^\((other|missing|empty)\)$/;

/** Reasons may name values. */
const HIDDEN_REASON = 'the reason is left out, because it may quote the data';

const behaviorWithout = (file: Fields): Fields => ({
  ...file,
  tests: mapped(file.tests, (test) => ({ ...test, examples: [] })),
});

const mapped = (value: unknown, change: (fields: Fields) => Fields): Fields =>
  Object.fromEntries(Object.entries(fieldsOf(value)).map(([name, own]) => [name, isFields(own) ? change(own) : own]));

function evaluationWithout(file: Fields, hiding: Hiding): Fields {
  return {
    ...file,
    ...(isFields(file.counterfactual) && { counterfactual: { ...file.counterfactual, examples: [] } }),
    ...(isFields(file.slices) && { slices: mapped(file.slices, (report) => slicesWithout(report, hiding)) }),
    ...(isFields(file.discovered) && { discovered: discoveredWithout(file.discovered, hiding) }),
    ...(isFields(file.fairness) && { fairness: fairnessWithout(file.fairness, hiding) }),
  };
}

/** Only slices by the values of a column have names from the data. */
function slicesWithout(report: Fields, hiding: Hiding): Fields {
  const [, column] = /^column (.*)$/s.exec(textOf(report.by) ?? '') ?? [];
  if (column === undefined) return report;
  const slices = listOf(report.slices).map(fieldsOf);
  const hidden = hiding.of(
    [column],
    slices.map(({ slice, rows }) => ({ value: plainText(slice), rows: numberOf(rows) })),
  );
  const renamed = slices.map((own) => ({ ...own, slice: hidden(plainText(own.slice)) }));
  const isHidden = renamed.some(({ slice }, i) => slice !== plainText(slices[i]!.slice));
  if (!isHidden) return report;
  return { ...withoutReasons(report), slices: renamed.map(withoutReasons) };
}

/** With the same metrics undefined, but no reason that may name a value. */
function withoutReasons(file: Fields): Fields {
  const hide = (reason: unknown) =>
    isFields(reason) ? Object.fromEntries(Object.keys(reason).map((name) => [name, HIDDEN_REASON])) : HIDDEN_REASON;
  const reasons = ['undefined', 'no_interval'].filter((name) => file[name] !== undefined);
  return { ...file, ...Object.fromEntries(reasons.map((name) => [name, hide(file[name])])) };
}

function discoveredWithout(report: Fields, hiding: Hiding): Fields {
  const slices = listOf(report.slices).map(fieldsOf);
  const where = (columns: unknown) =>
    Object.fromEntries(Object.entries(fieldsOf(columns)).map(([column, value]) => [column, hiding.of([column], [])(plainText(value))]));
  return { ...report, slices: slices.map((own) => ({ ...own, where: where(own.where) })) };
}

function fairnessWithout(report: Fields, hiding: Hiding): Fields {
  const left = listOf(report.left_out).map(fieldsOf);
  const groups = [...Object.values(fieldsOf(report.labels)).flatMap((own) => listOf(fieldsOf(own).groups).map(fieldsOf)), ...left];
  const hidden = hiding.of(
    [report.group].flat().map(plainText),
    groups.map(({ group, rows }) => ({ value: plainText(group), rows: numberOf(rows) })),
  );
  if (groups.every(({ group }) => hidden(plainText(group)) === plainText(group))) return report;
  const renamed = (own: Fields) => ({ ...withoutReasons(own), group: hidden(plainText(own.group)) });
  return {
    ...withoutReasons(report),
    labels: mapped(report.labels, (own) => ({
      ...withoutReasons(own),
      groups: listOf(own.groups).map((group) => renamed(fieldsOf(group))),
    })),
    ...(left.length > 0 && { left_out: left.map(renamed) }),
  };
}

/** Thresholds of each value of a column, as a list or as `{GROUP: {LABEL: number}}`. */
function calibrationWithout(file: Fields, hiding: Hiding): Fields {
  const hidden = hiding.of(textOf(file.group) === undefined ? [] : [textOf(file.group)!], []);
  const { thresholds } = file;
  const renamed = Array.isArray(thresholds)
    ? thresholds.map(fieldsOf).map((one) => (one.group === undefined ? one : { ...one, group: hidden(plainText(one.group)) }))
    : Object.fromEntries(Object.entries(fieldsOf(thresholds)).map(([name, at]) => [isFields(at) ? hidden(name) : name, at]));
  return { ...file, ...(thresholds !== undefined && { thresholds: renamed }) };
}

/** Figures of groups are undefined because of a group, which the reason names. */
const verdictWithout = (file: Fields): Fields => ({
  ...file,
  requirements: listOf(file.requirements)
    .map(fieldsOf)
    .map((one) => (/(^|\.)(gap|fairness)\./.test(plainText(one.metric)) ? withoutReasons(one) : one)),
});

/** Targets of a sequence-to-sequence model are in the column of labels, too. */
function cardWithout(file: Fields): Fields {
  const labels = Object.entries(numbersOf(file.labels));
  const hidden = new Hiding(() => false).of(
    [],
    labels.map(([value, rows]) => ({ value, rows: rows ?? undefined })),
  );
  if (labels.every(([label]) => hidden(label) === label || isNumber(label))) return file;
  const { labels: _, ...others } = file;
  return others;
}

const isNumber = (label: string): boolean => label.trim() !== '' && Number.isFinite(Number(label));

/* A run. */

const inShell = (name: string): string => (/^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

/** The result of evaluate names its worst slice, and nothing is known about custom steps. */
const quotesNothing = (uses: string | undefined): boolean => isBuiltIn(uses) && uses !== 'evaluate';

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
      result: quotesNothing(cell.uses) ? cell.result : undefined,
    })),
    notices: [
      ...kept,
      ...(left > 0 ? [{ message: `${counted(left, 'notice')} left out, because notices of cells may quote the data.` }] : []),
    ],
  };
}
