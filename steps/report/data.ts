/** Sections about the data: the card of each table, and what `check` found. */

import { type Fields, fieldsOf, type JsonFile, listOf, numberOf, numbersOf, plainText, textOf, withBounds } from './artifacts.ts';
import { type Block, beginning, count, counted, note, percent, type Section, shown, type Table, type TableCell } from './document.ts';
import { ofEach } from './judgements.ts';
import { barChart } from './plots.ts';

export function dataSection(cards: readonly JsonFile[], checks: readonly JsonFile[]): Section | undefined {
  if (cards.length === 0) return undefined;
  const blocks: Block[] = [];
  const overview: Table = {
    kind: 'table',
    caption: 'Tables, with the lengths of their texts in characters',
    header: ['table', 'rows', 'columns', 'dropped', 'shortest', 'median', '95%', 'longest'],
    rows: cards.slice(0, MOST).map(({ name, file }) => {
      const lengths = numbersOf(file.lengths);
      const dropped = Object.values(numbersOf(file.dropped)).reduce((sum: number, n) => sum + (n ?? 0), 0);
      return [
        name,
        shown(numberOf(file.rows)),
        shown(listOf(file.columns).length),
        shown(dropped),
        ...['min', 'median', 'p95', 'max'].map((key) => (key in lengths ? shown(lengths[key]) : '–')),
      ];
    }),
    numeric: [1, 2, 3, 4, 5, 6, 7],
    ...(cards.length > MOST && { more: `+ ${count(cards.length - MOST)} more tables` }),
  };
  blocks.push(overview, ...droppedRows(cards));
  const labelled = cards.filter(({ file }) => Object.keys(numbersOf(file.labels)).length > 0);
  const last = labelled.at(-1);
  if (last) blocks.push(...balance(last));
  const divided = cards.filter(({ file }) => Object.keys(fieldsOf(file.splits)).length > 0).at(-1);
  if (divided) blocks.push(splitTable(divided));
  blocks.push(...nearDuplicates(checks));
  return { id: 'data', title: 'Data', blocks };
}

/** The rows of each split, and how many of them have each label. */
function splitTable({ name, file }: JsonFile): Table {
  const labels = mostFrequent(file).map(({ label }) => label);
  const columns = labels.length <= MOST_LABELS ? labels : [];
  return {
    kind: 'table',
    caption: `Rows of each split (${name})`,
    header: ['split', 'rows', ...columns],
    rows: Object.entries(fieldsOf(file.splits)).map(([split, facts]) => {
      const of = numbersOf(fieldsOf(facts).labels);
      return [split, shown(numberOf(fieldsOf(facts).rows)), ...columns.map((label) => shown(of[label] ?? 0))];
    }),
    numeric: [1, ...columns.map((_, i) => i + 2)],
  };
}

/** Labels that have a column each. */
const MOST_LABELS = 10;

const MOST = 20;

function droppedRows(cards: readonly JsonFile[]): Block[] {
  const rows = cards.flatMap(({ name, file }) => Object.entries(numbersOf(file.dropped)).map(([why, n]) => ({ name, why, n: n ?? 0 })));
  const some = rows.filter(({ n }) => n > 0);
  if (some.length === 0) return [note('No row was dropped.')];
  return [
    {
      kind: 'table',
      caption: 'Dropped rows, by reason',
      header: ['table', 'reason', 'rows'],
      rows: some.slice(0, 40).map(({ name, why, n }) => [name, why.replaceAll('_', ' '), count(n)]),
      numeric: [2],
      ...(some.length > 40 && { more: `+ ${some.length - 40} more reasons` }),
    },
  ];
}

/** Only `check` counts near-duplicates; `drift` has limits and figures in the same form, and none of these. */
function nearDuplicates(all: readonly JsonFile[]): Block[] {
  const checks = all.filter(({ file }) => !('two_sample.p' in fieldsOf(file.metrics)));
  if (checks.length === 0)
    return [note('Near-duplicates across splits: n/a (the step “check”, which counts them, is not part of this report).')];
  return checks.map(({ name, file }) => {
    const figure = 'near_duplicates.across_splits';
    const value = numberOf(fieldsOf(file.metrics)[figure]);
    const why = textOf(fieldsOf(file.undefined)[figure]) ?? 'it was not measured';
    return note(
      `Near-duplicates across splits: ${value === undefined ? `n/a (${why})` : `${percent(value)} of the rows outside train`} (${name}).`,
    );
  });
}

/** More different numbers than this are ranges. */
const MOST_NUMBERS = 20;

/** The labels of the card. In JSON, names that are whole numbers lose their order. */
const mostFrequent = (file: Fields): { label: string; n: number }[] =>
  Object.entries(numbersOf(file.labels))
    .map(([label, n]) => ({ label, n: n ?? 0 }))
    .sort((a, b) => b.n - a.n);

/** Labels, the most frequent first; many different numbers as ranges of equal width. Whole numbers are names of classes. */
function labelCounts(file: Fields): { labels: { label: string; n: number }[]; ranges: boolean } {
  const labels = mostFrequent(file);
  const ranges =
    labels.length > MOST_NUMBERS &&
    labels.every(({ label }) => label.trim() !== '' && Number.isFinite(Number(label))) &&
    labels.some(({ label }) => !Number.isInteger(Number(label)));
  if (!ranges) return { labels, ranges };
  const values = labels.map(({ label }) => Number(label));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const width = (high - low) / 10;
  const counted = Array.from({ length: 10 }, (_, i) => ({ label: `${shown(low + i * width)} – ${shown(low + (i + 1) * width)}`, n: 0 }));
  for (const [i, { n }] of labels.entries()) counted[Math.min(9, Math.floor((values[i]! - low) / width))]!.n += n;
  return { labels: counted, ranges };
}

function balance({ name, file }: JsonFile): Block[] {
  const { labels, ranges } = labelCounts(file);
  const total = labels.reduce((sum, { n }) => sum + n, 0);
  const most = labels.slice(0, 20);
  const unlabelled = numberOf(file.unlabelled);
  const uncounted = (numberOf(file.rows) ?? 0) - (unlabelled ?? 0) - mostFrequent(file).reduce((sum, { n }) => sum + n, 0);
  if (uncounted > 0)
    return [
      note(
        `Distribution of the labels: n/a (the card of ${name} counts only the ${count(Object.keys(numbersOf(file.labels)).length)} most frequent labels; ${counted(uncounted, 'row')} have others).`,
      ),
    ];
  return [
    {
      kind: 'picture',
      name: 'labels',
      title: `${ranges ? 'Distribution of the numbers' : 'Label balance'} (${name})`,
      description: `${labels.length} ${ranges ? 'ranges' : 'labels'} of ${counted(total, 'row')}: ${most
        .slice(0, 8)
        .map(({ label, n }) => `${beginning(label, 60)} ${percent(n / total)}`)
        .join(', ')}${labels.length > 8 ? ' …' : ''}.`,
      svg: barChart(
        most.map(({ label, n }) => ({ name: label, value: n })),
        'rows',
      ),
      table: {
        kind: 'table',
        caption: `Rows of each ${ranges ? 'range' : 'label'}`,
        header: [ranges ? 'number' : 'label', 'rows', 'share'],
        rows: labels.slice(0, 100).map(({ label, n }) => [beginning(label, 200), count(n), percent(n / total)]),
        numeric: [1, 2],
        ...(labels.length > 100 && { more: `+ ${count(labels.length - 100)} more labels` }),
      },
    },
    ...(labels.length > most.length ? [note(`The picture shows the ${most.length} most frequent labels.`)] : []),
    ...(unlabelled ? [note(`${counted(unlabelled, 'row')} without a label.`)] : []),
  ];
}

/* What `check` found. */

export function checksSection(checks: readonly JsonFile[]): Section | undefined {
  const blocks = ofEach(checks, checkBlocks);
  return blocks.length === 0 ? undefined : { id: 'checks', title: 'Data checks', blocks };
}

function checkBlocks(file: Fields, index: number): Block[] {
  const blocks: Block[] = [];
  const problems = Object.entries(numbersOf(file.problems));
  const missed = listOf(file.limits)
    .map(fieldsOf)
    .filter(({ met }) => met === false);
  if (missed.length > 0) blocks.push(note(`Missed limits: ${missed.map(({ name, limit }) => `${name} ${limit}`).join(', ')}.`, 'bad'));
  const rows = numberOf(file.rows);
  if (problems.length > 0)
    blocks.push({
      kind: 'picture',
      name: `problems-${index + 1}`,
      title: 'Rows with a problem',
      description: `${problems.map(([name, n]) => `${name.replaceAll('_', ' ')} ${shown(n)}`).join(', ')}${rows === undefined ? '' : ` of ${counted(rows, 'row')}`}.`,
      svg: barChart(
        problems.map(([name, n]) => ({ name: name.replaceAll('_', ' '), value: n ?? 0 })),
        'rows',
      ),
      table: {
        kind: 'table',
        caption: 'Rows with a problem',
        header: ['problem', 'rows', 'share'],
        rows: problems.map(([name, n]) => [name.replaceAll('_', ' '), shown(n), rows ? percent((n ?? 0) / rows) : 'n/a']),
        numeric: [1, 2],
      },
    });
  else if (file.problems !== undefined) blocks.push(note('No row has a problem.', 'good'));
  const limits = listOf(file.limits).map(fieldsOf);
  // A column without a missing value is no news.
  const metrics = Object.entries(numbersOf(file.metrics)).filter(
    ([name, value]) => !name.startsWith('missing.') || value !== 0 || limits.some((limit) => limit.name === name),
  );
  const reasons = fieldsOf(file.undefined);
  if (metrics.length > 0)
    blocks.push({
      kind: 'table',
      caption: 'Figures, with the thresholds that fail the step',
      header: ['figure', 'value', 'threshold'],
      rows: metrics.map(([name, value]) => {
        const own = limits.filter((limit) => limit.name === name);
        const text = own.map(({ limit, met }) => `${plainText(limit)}${met === false ? ' (missed)' : ''}`).join(', ');
        const threshold: TableCell = { text: text || '–', ...(own.some(({ met }) => met === false) && { tone: 'bad' }) };
        return [name, withBounds(value, undefined, reasons[name]), threshold];
      }),
      numeric: [1],
    });
  for (const [problem, found] of Object.entries(fieldsOf(file.examples))) {
    const examples = listOf(found).map(fieldsOf);
    if (examples.length === 0) continue;
    blocks.push({
      kind: 'table',
      caption: `Rows with the problem “${problem.replaceAll('_', ' ')}”`,
      header: ['id', 'split', 'label', 'problem', 'text'],
      rows: examples
        .slice(0, 5)
        .map((row) => [
          beginning(plainText(row.id), 80),
          plainText(row.split),
          beginning(plainText(row.label), 80),
          beginning(plainText(row.detail), 200),
          beginning(plainText(row.text), 160),
        ]),
      numeric: [],
      ...(examples.length > 5 && { more: `+ ${examples.length - 5} more examples in the report of check` }),
    });
  }
  return blocks;
}
