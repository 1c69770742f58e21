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
import { type Block, beginning, count, counted, note, percent, type Section, shown, type Table, type TableCell } from './document.ts';
import { withoutInterval } from './missing-intervals.ts';
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
  const without = withoutInterval('figure', noIntervals(slices, report));
  const metric = textOf(report.metric) ?? Object.keys(numbersOf(fieldsOf(slices[0]).metrics))[0] ?? 'metric';
  const gap = numberOf(report.gap);
  const by = textOf(report.by);
  const measuredOf = (slice: Fields) => fieldsOf(slice.metrics)[metric];
  const shownSlices = slices.slice(0, MOST);
  const table = sliceTable(name, { slices: shownSlices, metric, report }, slices.length);
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
  if (bars.length === 0) return [...blocks, table, ...without];
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
    ...without,
  ];
}

/** The gap, and metrics of slices, that have a value but no interval. */
function noIntervals(slices: Fields[], report: Fields): { name: string; why: string }[] {
  const ofGap = textOf(report.no_interval);
  const ofSlices = slices.flatMap((slice) => {
    const reasons = fieldsOf(slice.undefined);
    const values: Fields = { ...fieldsOf(slice.metrics), gap: slice.gap };
    return Object.entries(values).flatMap(([name, value]) => {
      const why = textOf(reasons[`${name}.lower`]) ?? textOf(reasons[`${name}.upper`]);
      return numberOf(value) === undefined || why === undefined
        ? []
        : [{ name: `${name} of ${beginning(plainText(slice.slice), 60)}`, why }];
    });
  });
  return [...(ofGap === undefined ? [] : [{ name: 'the gap between the best and the worst slice', why: ofGap }]), ...ofSlices];
}

/** Why a slice has no gap. */
function whyNoGap(slice: Fields, metric: string, { min_rows, undefined: why }: Fields): string | undefined {
  const [rows, least] = [numberOf(slice.rows), numberOf(min_rows)];
  if (rows !== undefined && least !== undefined && rows < least) return `fewer than ${count(least)} rows`;
  return numberOf(fieldsOf(slice.metrics)[metric]) === undefined ? `${metric} is undefined` : textOf(why);
}

const MOST = 30;

function sliceTable(
  name: string,
  { slices, metric: main, report }: { slices: Fields[]; metric: string; report: Fields },
  all: number,
): Table {
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
      withBounds(numberOf(slice.gap), slice.gap_interval, whyNoGap(slice, main, report)),
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
    ...withoutInterval(
      'measure',
      metrics.flatMap(([name, value]) => {
        const why = textOf(reasons[`${name}.lower`]) ?? textOf(reasons[`${name}.upper`]);
        return value === null || why === undefined ? [] : [{ name: name.replaceAll('_', ' '), why }];
      }),
    ),
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
          const text = withBounds(value, undefined, fieldsOf(row.undefined)[name]);
          return { text, ...(value !== undefined && value >= 0 && value <= 1 && { share: value }) };
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
  const blocks: Block[] = [note(counterfactualText(report, rows))];
  const swaps = listOf(report.swaps).map(fieldsOf);
  // The labels of a regression are numbers, whose share says nothing.
  const hasLabels = numberOf(report.changed) !== undefined;
  if (swaps.length > 0)
    blocks.push({
      kind: 'table',
      caption: 'Swapped terms',
      header: [
        'term',
        'swapped for',
        'rows',
        ...(hasLabels ? ['labels changed', 'mean change of a score'] : ['mean change of the number']),
      ],
      rows: swaps
        .slice(0, MOST)
        .map((swap) => [
          plainText(swap.from),
          plainText(swap.to),
          shown(numberOf(swap.rows)),
          ...(hasLabels ? [percent(numberOf(swap.changed))] : []),
          shown(numberOf(swap.mean_change)),
        ]),
      numeric: hasLabels ? [2, 3, 4] : [2, 3],
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

/** A regression has no share of changed labels, but changes. */
function counterfactualText(report: Fields, rows: number): string {
  const reasons = fieldsOf(report.undefined);
  const [changed, mean, most] = [report.changed, report.mean_change, report.max_change].map(numberOf);
  const [why] = Object.values(reasons).flatMap((one) => textOf(one) ?? []);
  if (changed === undefined && mean === undefined) return `n/a: ${why ?? 'no text contains a term'}.`;
  const share = withBounds(changed, report.interval, reasons.changed, percent);
  return [
    `Terms were swapped in ${counted(rows, 'text')}.`,
    changed === undefined ? `The share of changed labels is ${share}.` : `The label changed in ${share} of them.`,
    `${changed === undefined ? 'The predicted number' : 'The scores'} changed by ${withBounds(mean, undefined, reasons.mean_change)} on average, and by ${withBounds(most, undefined, reasons.max_change)} at most.`,
  ].join(' ');
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
