/** Groups of rows: slices with their gaps, discovered slices, fairness, and counterfactual tests. */

import {
  boundsOf,
  type EvaluationFile,
  type Fields,
  fieldsOf,
  listOf,
  numberOf,
  numbersOf,
  plainText,
  textOf,
  withBounds,
} from './artifacts.ts';
import { type Block, beginning, count, note, percent, type Section, shown, type Table, type TableCell } from './document.ts';
import { dotChart } from './plots.ts';

export function groupSections({ file }: EvaluationFile): Section[] {
  const slices = [
    ...Object.entries(fieldsOf(file.slices)).flatMap(([name, value], i) => sliceBlocks(name, fieldsOf(value), i)),
    ...discovered(fieldsOf(file.discovered)),
  ];
  const fairness = fairnessBlocks(fieldsOf(file.fairness));
  const swaps = counterfactualBlocks(fieldsOf(file.counterfactual));
  return [
    ...(slices.length > 0 ? [{ id: 'slices', title: 'Slices', blocks: slices }] : []),
    ...(fairness.length > 0 ? [{ id: 'fairness', title: 'Fairness', blocks: fairness }] : []),
    ...(swaps.length > 0 ? [{ id: 'counterfactual', title: 'Counterfactual tests', blocks: swaps }] : []),
  ];
}

/** One definition of slices, the worst slice first. */
function sliceBlocks(name: string, report: Fields, index: number): Block[] {
  const slices = listOf(report.slices).map(fieldsOf);
  if (slices.length === 0) return [note(`${name}: ${textOf(report.undefined) ?? 'there are no slices'}.`)];
  const metric = textOf(report.metric) ?? Object.keys(numbersOf(fieldsOf(slices[0]).metrics))[0] ?? 'metric';
  const gap = numberOf(report.gap);
  const by = textOf(report.by);
  const measuredOf = (slice: Fields) => fieldsOf(slice.metrics)[metric];
  const shownSlices = slices.slice(0, MOST);
  const table = sliceTable(name, shownSlices, slices.length);
  const bars = shownSlices.flatMap((slice) => {
    const value = numberOf(measuredOf(slice));
    const own = boundsOf(fieldsOf(slice.intervals)[metric]);
    return value === undefined
      ? []
      : [
          {
            name: plainText(slice.slice),
            value,
            low: own?.low,
            high: own?.high,
            marked: slice === slices[0] && gap !== undefined && gap !== 0,
          },
        ];
  });
  const blocks: Block[] = [
    { kind: 'heading', text: by && by !== name ? `${name} (${by})` : name },
    note(
      gap === undefined
        ? `There is no gap: ${textOf(report.undefined) ?? 'it is undefined'}.`
        : `The gap in ${metric} between the best and the worst slice is ${withBounds(gap, report.interval)}.`,
    ),
  ];
  if (bars.length === 0) return [...blocks, table];
  return [
    ...blocks,
    {
      kind: 'picture',
      name: `slices-${index + 1}`,
      title: `${metric} of the slices of ${name}`,
      description: `${bars
        .slice(0, 8)
        .map(({ name: slice, value }) => `${beginning(slice, 60)} ${shown(value)}`)
        .join(', ')}${bars.length > 8 ? ' …' : ''}. Lines are intervals; the worst slice is marked.`,
      svg: dotChart(bars, metric),
      table,
    },
  ];
}

const MOST = 30;

function sliceTable(name: string, slices: Fields[], all: number): Table {
  const names = [...new Set(slices.flatMap((slice) => Object.keys(fieldsOf(slice.metrics))))];
  return {
    kind: 'table',
    caption: `Slices of ${name}, the worst first`,
    header: ['slice', 'rows', ...names, 'gap'],
    rows: slices.map((slice) => [
      beginning(plainText(slice.slice), 200),
      shown(numberOf(slice.rows)),
      ...names.map((metric) => {
        const value = numberOf(fieldsOf(slice.metrics)[metric]);
        // A slice without rows has one reason for all metrics.
        const why = textOf(slice.undefined) ?? fieldsOf(slice.undefined)[metric];
        return withBounds(value, fieldsOf(slice.intervals)[metric], why);
      }),
      withBounds(numberOf(slice.gap), slice.gap_interval),
    ]),
    numeric: [1, ...names.map((_, i) => i + 2), names.length + 2],
    ...(all > slices.length && { more: `+ ${count(all - slices.length)} more slices` }),
  };
}

function discovered(report: Fields): Block[] {
  const slices = listOf(report.slices).map(fieldsOf);
  const heading: Block = { kind: 'heading', text: 'Discovered slices' };
  if (slices.length === 0) return textOf(report.undefined) === undefined ? [] : [heading, note(`None: ${report.undefined}.`)];
  const tested = numberOf(report.tested);
  return [
    heading,
    {
      kind: 'table',
      caption: `Combinations of columns with the highest error${tested === undefined ? '' : `, of ${count(tested)} that were tested`}${textOf(report.error) ? ` (error: ${report.error})` : ''}`,
      header: ['rows where', 'rows', 'error', 'error of the rest', 'difference'],
      rows: slices.slice(0, MOST).map((slice) => {
        const where = Object.entries(fieldsOf(slice.where)).map(([column, value]) => `${column} = ${String(value)}`);
        return [
          where.join(' and '),
          shown(numberOf(slice.rows)),
          shown(numberOf(slice.error)),
          shown(numberOf(slice.rest)),
          withBounds(numberOf(slice.difference), slice),
        ];
      }),
      numeric: [1, 2, 3, 4],
    },
  ];
}

function fairnessBlocks(report: Fields): Block[] {
  const metrics = Object.entries(numbersOf(report.metrics));
  if (metrics.length === 0) return [];
  const intervals = fieldsOf(report.intervals);
  const reasons = fieldsOf(report.undefined);
  const groups = listOf(report.group).map(String).join(', ') || textOf(report.group) || '';
  const blocks: Block[] = [
    {
      kind: 'table',
      caption: `Fairness between the groups of ${groups}. A difference of 0 and a ratio of 1 mean that the groups are treated alike`,
      header: ['measure', 'value'],
      rows: metrics.map(([name, value]) => [name.replaceAll('_', ' '), withBounds(value, intervals[name], reasons[name])]),
      numeric: [1],
    },
  ];
  for (const [label, figures] of Object.entries(fieldsOf(report.labels))) {
    const rows = listOf(fieldsOf(figures).groups).map(fieldsOf);
    if (rows.length === 0) continue;
    const names = [...new Set(rows.flatMap((row) => Object.keys(numbersOf(row))))].filter((name) => !['rows', 'positives'].includes(name));
    blocks.push({
      kind: 'table',
      caption: `Groups, for the positive label “${label}”`,
      header: ['group', 'rows', 'positives', ...names.map((name) => name.replaceAll('_', ' '))],
      rows: rows.slice(0, MOST).map((row) => [
        String(row.group ?? ''),
        shown(numberOf(row.rows)),
        shown(numberOf(row.positives)),
        ...names.map((name): TableCell => {
          const value = numberOf(row[name]);
          return { text: shown(value), ...(value !== undefined && value >= 0 && value <= 1 && { share: value }) };
        }),
      ]),
      numeric: [1, 2, ...names.map((_, i) => i + 3)],
      ...(rows.length > MOST && { more: `+ ${count(rows.length - MOST)} more groups` }),
    });
  }
  const left = listOf(report.left_out).map(fieldsOf);
  if (left.length > 0)
    blocks.push(
      note(
        `Left out, because they have too few rows: ${left
          .slice(0, 20)
          .map(({ group, rows }) => `${String(group)} (${String(rows)})`)
          .join(', ')}.`,
      ),
    );
  return blocks;
}

function counterfactualBlocks(report: Fields): Block[] {
  const rows = numberOf(report.rows);
  if (rows === undefined) return [];
  const reasons = Object.values(fieldsOf(report.undefined)).map(String);
  const changed = numberOf(report.changed);
  const blocks: Block[] = [
    note(
      changed === undefined
        ? `n/a: ${reasons[0] ?? 'no text contains a term'}.`
        : `Terms were swapped in ${count(rows)} texts. The label changed in ${withBounds(changed, report.interval, undefined, percent)} of them; scores changed by ${shown(numberOf(report.mean_change))} on average, and by ${shown(numberOf(report.max_change))} at most.`,
    ),
  ];
  const swaps = listOf(report.swaps).map(fieldsOf);
  if (swaps.length > 0)
    blocks.push({
      kind: 'table',
      caption: 'Swapped terms',
      header: ['term', 'swapped for', 'rows', 'labels changed', 'mean change of a score'],
      rows: swaps
        .slice(0, MOST)
        .map((swap) => [
          String(swap.from ?? ''),
          String(swap.to ?? ''),
          shown(numberOf(swap.rows)),
          percent(numberOf(swap.changed)),
          shown(numberOf(swap.mean_change)),
        ]),
      numeric: [2, 3, 4],
      ...(swaps.length > MOST && { more: `+ ${count(swaps.length - MOST)} more terms` }),
    });
  const examples = listOf(report.examples).map(fieldsOf);
  if (examples.length > 0)
    blocks.push({
      kind: 'examples',
      heading: 'Texts whose answers changed most',
      examples: examples.slice(0, 10).map((example) => ({
        facts: [
          ['before', answerText(example.before)],
          ['after', answerText(example.after)],
          ['change', shown(numberOf(example.change))],
          ['id', String(example.id ?? '')],
        ],
        fields: [...swappedFields('before', example.text), ...swappedFields('after', example.swapped)],
        notes: [],
      })),
      ...(examples.length > 10 && { more: `+ ${count(examples.length - 10)} more` }),
    });
  return blocks;
}

/** The texts of an input; those of several fields with the names of the fields. */
function swappedFields(when: string, texts: unknown) {
  const fields = Object.entries(fieldsOf(texts));
  return fields.map(([name, text]) => ({
    name: fields.length > 1 ? `${when}, ${name}` : when,
    parts: [{ text: beginning(String(text), 400) }],
  }));
}

/** An answer as `predict` prints it, in a few words. */
function answerText(answer: unknown): string {
  const fields = fieldsOf(answer);
  const [label] = [fields.label ?? fields.labels ?? fields.score ?? fields.text ?? fields.answer];
  if (label === undefined) return typeof answer === 'string' ? answer : beginning(JSON.stringify(answer) ?? '', 120);
  const score = typeof label === 'string' ? numberOf(fieldsOf(fields.scores)[label]) : undefined;
  return `${Array.isArray(label) ? label.join(', ') || '–' : typeof label === 'number' ? shown(label) : String(label)}${score === undefined ? '' : ` (${shown(score)})`}`;
}
