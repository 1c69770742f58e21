/** Sections about the data: the card of each table, what `check` found, and the behavior tests. */

import { boundsOf, type Fields, fieldsOf, type JsonFile, listOf, numberOf, numbersOf, textOf } from './artifacts.ts';
import {
  type Block,
  beginning,
  count,
  counted,
  note,
  percent,
  type Section,
  type ShownExample,
  shown,
  type Table,
  type TableCell,
} from './document.ts';
import { answerText } from './groups.ts';
import { barChart } from './plots.ts';

export function dataSection(cards: readonly JsonFile[]): Section | undefined {
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
  const splits = cards
    .map(({ name, file }) => ({ name, splits: numbersOf(file.splits) }))
    .filter(({ splits }) => Object.keys(splits).length > 0);
  for (const { name, splits: counts } of splits.slice(-1))
    blocks.push({
      kind: 'table',
      caption: `Rows of each split (${name})`,
      header: ['split', 'rows'],
      rows: Object.entries(counts).map(([split, n]) => [split, shown(n)]),
      numeric: [1],
    });
  return { id: 'data', title: 'Data', blocks };
}

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

function balance({ name, file }: JsonFile): Block[] {
  const labels = Object.entries(numbersOf(file.labels)).map(([label, n]) => ({ label, n: n ?? 0 }));
  const total = labels.reduce((sum, { n }) => sum + n, 0);
  const most = labels.slice(0, 20);
  const unlabelled = numberOf(file.unlabelled);
  return [
    {
      kind: 'picture',
      name: 'labels',
      title: `Label balance (${name})`,
      description: `${labels.length} labels of ${counted(total, 'row')}: ${most
        .slice(0, 8)
        .map(({ label, n }) => `${beginning(label, 60)} ${percent(n / total)}`)
        .join(', ')}${labels.length > 8 ? ' …' : ''}.`,
      svg: barChart(
        most.map(({ label, n }) => ({ name: label, value: n })),
        'rows',
      ),
      table: {
        kind: 'table',
        caption: 'Rows of each label',
        header: ['label', 'rows', 'share'],
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
  const blocks = checks.flatMap(({ name, file }, i) => [
    ...(checks.length > 1 ? [{ kind: 'heading', text: name } as Block] : []),
    ...checkBlocks(file, i),
  ]);
  return blocks.length === 0 ? undefined : { id: 'checks', title: 'Data checks', blocks };
}

function checkBlocks(file: Fields, index: number): Block[] {
  const blocks: Block[] = [];
  const problems = Object.entries(numbersOf(file.problems));
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
  const metrics = Object.entries(numbersOf(file.metrics));
  const limits = listOf(file.limits).map(fieldsOf);
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
        return [name, value === null ? `n/a${reasons[name] ? ` (${String(reasons[name])})` : ''}` : shown(value), threshold];
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

const plainText = (value: unknown): string =>
  value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);

/* Behavior tests. */

export function behaviorSection(all: readonly JsonFile[]): Section | undefined {
  const blocks = all.flatMap(({ name, file }) => [
    ...(all.length > 1 ? [{ kind: 'heading', text: name } as Block] : []),
    ...behaviorBlocks(file),
  ]);
  return blocks.length === 0 ? undefined : { id: 'behavior', title: 'Behavior tests', blocks };
}

function behaviorBlocks(file: Fields): Block[] {
  const given = Array.isArray(file.tests)
    ? file.tests.map(fieldsOf)
    : Object.entries(fieldsOf(file.tests)).map(([name, test]): Fields => ({ name, ...fieldsOf(test) }));
  if (given.length === 0) return [];
  const tests = given.map((test) => {
    const cases = numberOf(test.cases ?? test.rows ?? test.total);
    const failures = numberOf(test.failures ?? test.failed);
    const rate = numberOf(test.failure_rate ?? test.rate) ?? (cases && failures !== undefined ? failures / cases : undefined);
    const passed = test.passed ?? test.ok;
    return {
      name: String(test.name ?? ''),
      kind: String(test.kind ?? test.type ?? ''),
      cases,
      failures,
      rate,
      limit: test.max_failures ?? test.threshold ?? test.limit,
      passed,
      bounds: boundsOf(test.interval),
      test,
    };
  });
  const blocks: Block[] = [
    {
      kind: 'table',
      caption: 'Tests, with the share of cases that failed',
      header: ['test', 'kind', 'cases', 'failed', 'failure rate', 'limit', 'result'],
      rows: tests.map(({ name, kind, cases, failures, rate, limit, passed, bounds }) => {
        const result: TableCell =
          passed === false ? { text: 'failed', tone: 'bad' } : passed === true ? { text: 'passed', tone: 'good' } : { text: '–' };
        return [
          name,
          kind,
          shown(cases),
          shown(failures),
          {
            text: `${percent(rate)}${bounds ? ` [${percent(bounds.low)}, ${percent(bounds.high)}]` : ''}`,
            ...(rate !== undefined && { share: rate }),
          },
          limit === undefined || limit === null ? '–' : plainText(limit),
          result,
        ];
      }),
      numeric: [2, 3, 4, 5],
    },
  ];
  for (const { name, test } of tests) {
    const examples = listOf(test.examples ?? test.failed_cases).map(fieldsOf);
    if (examples.length === 0) continue;
    blocks.push({
      kind: 'examples',
      heading: `Failed cases of ${name}`,
      examples: examples.slice(0, 4).map(behaviorExample),
      ...(examples.length > 4 && { more: `+ ${examples.length - 4} more in the report of the step` }),
    });
  }
  return blocks;
}

/** A failed case: what is short becomes a fact, a text a field. */
function behaviorExample(fields: Fields): ShownExample {
  const facts: ShownExample['facts'] = [];
  const texts: ShownExample['fields'] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    if (
      /^(text|input|original|changed|perturbed|swapped|before_text|after_text|from|to)/.test(name) ||
      (typeof value === 'string' && value.length > 60)
    ) {
      const parts = typeof value === 'string' ? [value] : Object.values(fieldsOf(value)).map(plainText);
      texts.push({ name, parts: [{ text: beginning(parts.join(' / '), 400) }] });
    } else
      facts.push([
        name.replaceAll('_', ' '),
        typeof value === 'object' ? answerText(value) : typeof value === 'number' ? shown(value) : (textOf(value) ?? String(value)),
      ]);
  }
  return { facts, fields: texts, notes: [] };
}
