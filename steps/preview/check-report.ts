/** The report of check as tables: the figures with their limits, and what each check has counted. */
import { more, number, type Preview } from './part.ts';

interface CheckReport {
  rows: number;
  splits: Record<string, number>;
  metrics: Record<string, number | null>;
  undefined: Record<string, string>;
  limits: { name: string; limit: string; value: number | null; met: boolean }[];
  problems: Record<string, number>;
  checks: Record<string, any>;
  examples: Record<string, { id: string | null; split?: string; label: string | null; detail: string; text: string }[]>;
}

/** Undefined if the text is no such report. */
export function checkTables(text: string, limit: number): Preview[] | undefined {
  const report = reportIn(text);
  if (!report) return undefined;
  const { checks } = report;
  return [
    figures(report),
    ...missing(checks.missing?.columns, limit),
    ...bySplit('labels', 'label', checks.labels, limit),
    ...lengths(checks.lengths),
    ...bySplit('languages', 'language', checks.languages, limit),
    ...labelNames(checks.label_in_text, limit),
    ...giveaways(checks, limit),
    ...suggestions(checks.label_errors?.suggested, limit),
    ...examples(report, limit),
  ];
}

function reportIn(text: string): CheckReport | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const found = JSON.parse(text);
    const parts = ['splits', 'metrics', 'undefined', 'problems', 'checks', 'examples'];
    return Array.isArray(found.limits) && parts.every((part) => Object(found[part]) === found[part]) ? found : undefined;
  } catch {
    return undefined;
  }
}

function figures({ rows, splits, metrics, undefined: why, limits }: CheckReport): Preview {
  const limitOf = new Map(limits.map((one) => [one.name, one]));
  const shown = Object.entries(metrics).filter(
    ([name, value]) => !name.startsWith('missing.') || (value !== 0 && value !== null) || limitOf.has(name),
  );
  const parts = Object.entries(splits).map(([name, n]) => `${name} ${number(n)}`);
  return {
    title: `checks of ${number(rows)} rows${parts.length > 0 ? ` (${parts.join(', ')})` : ''}`,
    table: {
      header: ['figure', 'value', 'limit', ''],
      rows: shown.map(([name, value]) => {
        const one = limitOf.get(name);
        return [name, counted(value), one?.limit ?? '', one ? (one.met ? 'met' : 'missed') : (why[name] ?? '')];
      }),
      numeric: [false, true, false, false],
    },
  };
}

function missing(columns: Record<string, { missing: number; empty: number }> | undefined, limit: number): Preview[] {
  const all = Object.entries(columns ?? {}).filter(([, own]) => own.missing + own.empty > 0);
  const rows = all.map(([name, own]) => [name, number(own.missing), number(own.empty)]);
  return tableOf('missing values', ['column', 'missing', 'empty'], rows, { limit, words: 1, things: 'columns' });
}

interface Counts {
  counts?: Record<string, number>;
  splits?: Record<string, Record<string, number>>;
}

function bySplit(title: string, column: string, { counts = {}, splits = {} }: Counts = {}, limit: number): Preview[] {
  const rows = Object.entries(counts).map(([name, n]) => [name, number(n), ...Object.values(splits).map((own) => number(own[name] ?? 0))]);
  return tableOf(title, [column, 'rows', ...Object.keys(splits)], rows, { limit, words: 1, things: title });
}

/** No table without rows. `words`: how many columns come before those of numbers. */
function tableOf(
  title: string,
  header: string[],
  rows: string[][],
  { limit, words, things }: { limit: number; words: number; things: string },
): Preview[] {
  if (rows.length === 0) return [];
  const shown = rows.slice(0, Math.max(limit, 20));
  const numeric = header.map((_, i) => i >= words);
  return [{ title, table: { header, rows: shown, numeric }, ...more(rows.length - shown.length, things) }];
}

interface LengthCounts {
  unit: string;
  max_length: number | null;
  all: Record<string, number | null>;
  splits: Record<string, Record<string, number | null>>;
}

function lengths(found: LengthCounts | undefined): Preview[] {
  if (!found || found.all.rows === 0) return [];
  const columns = ['rows', 'min', 'median', 'p95', 'max', 'too_long'];
  const rows = Object.entries({ all: found.all, ...found.splits }).map(([name, own]) => [
    name,
    ...columns.map((key) => counted(own[key] ?? null)),
  ]);
  const title = `lengths in ${found.unit}${found.max_length === null ? '' : `, limit ${number(found.max_length)}`}`;
  return tableOf(title, ['split', ...columns.map((name) => name.replace('_', ' '))], rows, {
    limit: rows.length,
    words: 1,
    things: 'splits',
  });
}

interface NameCounts {
  label: string;
  rows: number;
  right: number;
  lift: number | null;
  certainty: number | null;
  gives_away: boolean;
}

function labelNames(found: NameCounts[] = [], limit: number): Preview[] {
  const rows = found.map((one) => [
    one.label,
    one.gives_away ? 'yes' : 'no',
    number(one.rows),
    number(one.right),
    counted(one.lift),
    counted(one.certainty),
  ]);
  const header = ['label', 'gives itself away', 'texts with its name', 'of this label', 'lift', 'certainty'];
  return tableOf('names of labels in texts', header, rows, { limit, words: 2, things: 'labels' });
}

interface GiveawayCounts {
  label: string;
  train: { rows: number; precision: number; coverage: number };
  confirmed: { rows: number; precision: number; coverage: number };
}

/** Phrases of texts, and values of columns. */
function giveaways(checks: CheckReport['checks'], limit: number): Preview[] {
  const phrases: (GiveawayCounts & { text: string })[] = checks.giveaways?.phrases ?? [];
  const values: (GiveawayCounts & { column: string; part: string; value: string | null })[] = checks['giveaways.columns']?.values ?? [];
  const found = [
    ...phrases.map(({ text, ...one }) => ({ ...one, where: 'text', what: text })),
    ...values.map(({ column, part, value, ...one }) => ({
      ...one,
      where: part === 'value' ? column : `${part} of ${column}`,
      what: value ?? 'no value',
    })),
  ];
  const rows = found.map(({ label, where, what, train, confirmed }) => [
    label,
    where,
    what,
    ...[train, confirmed].flatMap((one) => [number(one.rows), counted(one.precision), counted(one.coverage)]),
  ]);
  const header = ['label', 'given away by', 'value', 'rows', 'precision', 'coverage', 'confirmed in', 'precision', 'coverage'];
  return tableOf('what gives labels away', header, rows, { limit, words: 3, things: 'values' });
}

function suggestions(found: { given: string; suggested: string; rows: number }[] = [], limit: number): Preview[] {
  const rows = found.map(({ given, suggested, rows }) => [given, suggested, number(rows)]);
  return tableOf('probable label errors', ['given label', 'suggested label', 'rows'], rows, { limit, words: 2, things: 'pairs' });
}

function examples({ examples, problems }: CheckReport, limit: number): Preview[] {
  return Object.entries(examples).map(([problem, rows]) => {
    const shown = rows.slice(0, limit);
    const total = problems[problem] ?? rows.length;
    return {
      title: `${problem.replaceAll('_', ' ')}, ${total === 1 ? '1 row' : `${number(total)} rows`}`,
      table: {
        header: ['id', 'label', 'detail', 'text'],
        rows: shown.map(({ id, label, detail, text }) => [id ?? '', label ?? '', detail, text]),
        numeric: [false, false, false, false],
      },
      ...more(total - shown.length, 'rows'),
    };
  });
}

/** Four digits, or as many as a large number has. */
function counted(value: number | null): string {
  if (value === null) return 'n/a';
  return Number.isInteger(value) ? number(value) : String(Number(value.toPrecision(4)));
}
