/**
 * What gates found: the requirements of `require`, the tests of `behavior` and the limits of `check`. With the cells of the run, this is
 * the list of everything that failed.
 */

import { isDeepStrictEqual } from 'node:util';
import { distinct, LIMIT_PATTERN, parseLimit } from '../ml/metrics/limits.ts';
import { listed } from '../ml/models/json.ts';
import {
  type Artifact,
  type Fields,
  fieldsOf,
  isGate,
  type JsonFile,
  listOf,
  type Material,
  numberOf,
  plainText,
  textOf,
  withBounds,
} from './artifacts.ts';
import { type Block, beginning, count, counted, note, percent, shown, type Table, type TableCell } from './document.ts';
import type { RunFacts } from './run.ts';

/** One thing that failed, as a row of the summary. */
interface Failure {
  /** The cell, or the name of the file. */
  where: string;
  state: string;
  what: string;
}

type Judged = Pick<Material, 'verdicts' | 'behavior' | 'checks'>;

/** What failed comes first. Then come the requirements that were met. */
export function judgementBlocks(judged: Judged, run: RunFacts | undefined): Block[] {
  return [...failureBlocks(judged, run), ...verdictBlocks(judged, run)];
}

/* What failed. */

function failureBlocks(judged: Judged, run: RunFacts | undefined): Block[] {
  const failures = failuresOf(judged, run);
  const blocks: Block[] = [];
  const states = Map.groupBy(run?.cells.filter(({ state }) => UNSUCCESSFUL.includes(state)) ?? [], ({ state }) => state);
  if (states.size > 0) {
    const all = UNSUCCESSFUL.flatMap((state) => states.get(state) ?? []).length;
    const text = UNSUCCESSFUL.flatMap((state) => (states.has(state) ? [`${count(states.get(state)!.length)} ${state}`] : []));
    blocks.push(
      note(
        `${count(all)} of ${counted(run!.cells.length, 'cell')} ${all === 1 ? 'has' : 'have'} no result: ${text.join(', ')}.`,
        states.has('failed') ? 'bad' : undefined,
      ),
    );
  } else if (failures.length > 0)
    blocks.push(note(`${counted(failures.length, 'limit')} ${failures.length === 1 ? 'is' : 'are'} missed.`, 'bad'));
  if (failures.length > 0) blocks.push(failureTable(failures));
  const others = run?.others ?? [];
  if (others.length > 0) {
    const names = others.slice(0, 10).map(({ cell, state }) => `${cell} (${state})`);
    blocks.push(note(`Also in this run, but not in this report: ${names.join(', ')}${others.length > 10 ? ' …' : ''}.`, 'bad'));
  }
  if (run?.unfinished) blocks.push(note(run.unfinished, 'bad'));
  return blocks;
}

/** The states of cells without a result, the worst first. */
const UNSUCCESSFUL = ['failed', 'canceled', 'skipped'];

function failureTable(failures: Failure[]): Table {
  const most = failures.slice(0, MOST);
  return {
    kind: 'table',
    caption: 'What failed or did not run',
    header: ['where', 'state', 'reason'],
    rows: most.map(({ where, state, what }) => [
      beginning(where, 160),
      { text: state, ...(state !== 'skipped' && { tone: 'bad' as const }) },
      beginning(what, 500),
    ]),
    numeric: [],
    ...(failures.length > most.length && { more: `+ ${count(failures.length - most.length)} more` }),
  };
}

const MOST = 60;

function failuresOf({ verdicts, behavior, checks }: Judged, run: RunFacts | undefined): Failure[] {
  const found = [
    ...verdicts.map((one) => ({ one, missed: missedRequirements(one.file) })),
    ...behavior.map((one) => ({ one, missed: failedTests(one.file) })),
    ...checks.map((one) => ({ one, missed: missedLimits(one.file) })),
  ];
  const cells = UNSUCCESSFUL.flatMap((state) => run?.cells.filter((cell) => cell.state === state) ?? []);
  const ofCells = cells.flatMap(({ cell, state, why, failure }): Failure[] => {
    const missed = state === 'failed' ? found.filter(({ one }) => one.failed && one.cell === cell).flatMap((own) => own.missed) : [];
    const reasons = missed.length > 0 ? missed : [failure ?? why ?? ''];
    return reasons.map((what) => ({ where: cell, state, what }));
  });
  const isListed = ({ failed, cell }: JsonFile) => failed === true && cells.some((one) => one.cell === cell);
  const ofFiles = found.flatMap(({ one, missed }) =>
    isListed(one) ? [] : missed.map((what): Failure => ({ where: one.cell ?? one.name, state: 'missed', what })),
  );
  const failed = ofCells.filter(({ state }) => state === 'failed');
  return [...failed, ...ofFiles, ...ofCells.filter(({ state }) => state !== 'failed')];
}

function missedRequirements(file: Fields): string[] {
  const limits = listOf(file.requirements)
    .map(fieldsOf)
    .filter(({ passed }) => passed !== true)
    .map((row) => missedText(nameOf(row), { limit: row.limit, value: row.value, why: row.undefined, by: row.missed_by }));
  const better = fieldsOf(file.better_than);
  return [...limits, ...(better.passed === false ? [comparisonText(better)] : [])];
}

/** The metric, and the step that measured it. */
const nameOf = ({ metric, from }: Fields): string => `${plainText(metric)}${plainText(from) ? ` (${plainText(from)})` : ''}`;

const missedLimits = (file: Fields): string[] =>
  listOf(file.limits)
    .map(fieldsOf)
    .filter(({ met }) => met === false)
    .map(({ name, limit, value }) =>
      missedText(plainText(name), { limit, value, why: fieldsOf(file.undefined)[plainText(name)], by: undefined }),
    );

/** `f1 is 0.91, but must be >= 0.95: missed by 0.04`. */
function missedText(name: string, { limit, value, why, by }: { limit: unknown; value: unknown; why: unknown; by: unknown }): string {
  const number = numberOf(value);
  const must = plainText(limit);
  if (number === undefined) return `${name} must be ${must}, but is undefined${textOf(why) === undefined ? '' : `: ${plainText(why)}`}`;
  const bound = new RegExp(LIMIT_PATTERN).test(must) ? parseLimit(must).bound : undefined;
  const amount = numberOf(by) ?? (bound === undefined ? undefined : Math.abs(number - bound));
  return `${name} is ${distinct(number, bound)}, but must be ${must}${amount ? `: missed by ${shown(amount)}` : ''}`;
}

function failedTests(file: Fields): string[] {
  return Object.entries(fieldsOf(file.tests)).flatMap(([name, test]): string[] => {
    const { passed, max_failures: limit, cases, failures, failure_rate: rate, undefined: why } = fieldsOf(test);
    if (passed !== false) return [];
    if (textOf(why) !== undefined) return [`the test ${name} is undefined: ${why} (required: ${plainText(limit)})`];
    const [number, all] = [numberOf(failures), numberOf(cases)];
    const of = `${shown(number)} of ${shown(all)} cases failed (${percent(numberOf(rate))})`;
    return [`the test ${name}: ${of}, but must be ${plainText(limit)}${excess(plainText(limit), number, all)}`];
  });
}

/** By how much a number of failures is above its limit, which is a share of the cases or a number of them. */
function excess(limit: string, failures: number | undefined, cases: number | undefined): string {
  const [, digits, sign] = /^<=? (\d+(?:\.\d+)?)(%?)$/.exec(limit) ?? [];
  if (digits === undefined || failures === undefined || !cases) return '';
  if (!sign && !digits.includes('.')) return failures === Number(digits) ? '' : `: missed by ${counted(failures - Number(digits), 'case')}`;
  const points = (100 * failures) / cases - Number(digits) * (sign ? 1 : 100);
  return points === 0 ? '' : `: missed by ${shown(points)} percentage points`;
}

/* What `require` decided. */

function verdictBlocks(judged: Judged, run: RunFacts | undefined): Block[] {
  const { verdicts } = judged;
  const passed = verdicts.filter(({ file }) => file.passed === true);
  const blocks: Block[] = [];
  if (passed.length > 0) {
    const all = passed.length === verdicts.length && everyGatePassed(judged, run);
    const names = listed(passed.map(({ name }) => name.replace(/\.verdict$/, '')));
    blocks.push(note(all ? 'All requirements are met.' : `The requirements of ${names} are met.`, 'good'));
  }
  const most = inOrder(verdicts, undefined).slice(0, MOST_FILES);
  for (const { name, file, failed } of most) {
    const rows = listOf(file.requirements).map(fieldsOf);
    const better = fieldsOf(file.better_than);
    if (rows.length > 0) blocks.push(requirementTable(`Requirements (${name}${failed ? ', failed' : ''})`, rows));
    if (better.passed === true) blocks.push(note(comparisonText(better), 'good'));
  }
  return [...blocks, ...moreFiles(verdicts.filter((one) => !most.includes(one)))];
}

/** Whether no cell of the run failed or was stopped, no gate was skipped, and no limit was missed. */
function everyGatePassed(judged: Judged, run: RunFacts | undefined): boolean {
  const stopped = run?.cells.some(({ state, uses }) => (state === 'skipped' ? isGate(uses) : UNSUCCESSFUL.includes(state)));
  return !stopped && !run?.unfinished && (run?.others ?? []).length === 0 && failuresOf(judged, undefined).length === 0;
}

function requirementTable(caption: string, rows: Fields[]): Table {
  return {
    kind: 'table',
    caption,
    header: ['requirement', 'required', 'value', 'result'],
    rows: rows.map((row) => [nameOf(row), plainText(row.limit), withBounds(numberOf(row.value), undefined, row.undefined), resultOf(row)]),
    numeric: [2],
  };
}

function resultOf({ passed, missed_by: by }: Fields): TableCell {
  if (passed === true) return { text: 'met', tone: 'good' };
  return { text: typeof by === 'number' ? `missed by ${shown(by)}` : 'missed', tone: 'bad' };
}

/** The paired test of `better_than`. */
function comparisonText({ metric, model, value, other, difference, interval, p, limit, passed, why }: Fields): string {
  const number = (given: unknown) => shown(numberOf(given));
  const values = `${number(value)} and ${number(other)}, difference ${withBounds(numberOf(difference), interval)}, p = ${number(p)}`;
  const verdict = passed === true ? 'is better' : 'is not better';
  return `The model ${verdict} than ${plainText(model)} in ${plainText(metric)}: ${values} (required: at most ${number(limit)})${textOf(why) ? `; ${plainText(why)}` : ''}.`;
}

/* Sections of their own. */

/**
 * The blocks of each file, below its name if there are several. What a failed step left is marked. The files of a large sweep are left
 * out: `inOrder` has those first that a reader wants.
 */
export function ofEach(all: readonly JsonFile[], blocksOf: (file: Fields, index: number) => Block[]): Block[] {
  const found: Block[] = [];
  const left: JsonFile[] = [];
  let files = 0;
  for (const [i, one] of all.entries()) {
    const { name, cell, file, failed } = one;
    if (files === MOST_FILES) left.push(one);
    const blocks = files === MOST_FILES ? [] : blocksOf(file, i);
    if (blocks.length === 0) continue;
    files++;
    if (all.length > 1) found.push({ kind: 'heading', text: failed ? `${name} (failed)` : name });
    if (failed) found.push(note(`${cell ?? name} failed. This is what it found.`, 'bad'));
    found.push(...blocks);
  }
  return [...found, ...moreFiles(left)];
}

/** Files of one kind that are shown. */
export const MOST_FILES = 8;

export const moreFiles = (left: readonly JsonFile[]): Block[] =>
  left.length === 0 ? [] : [note(`+ ${count(left.length)} more: ${listed(left.map(({ name }) => name))}.`)];

/** If there are too many: first what failed, then what belongs to the evaluation that the report shows in detail. */
export function inOrder(all: readonly JsonFile[], main: Artifact | undefined): JsonFile[] {
  if (all.length <= MOST_FILES) return [...all];
  const rank = ({ file, failed, matrix }: JsonFile) => {
    if (failed || [missedRequirements, failedTests, missedLimits].some((missed) => missed(file).length > 0)) return 0;
    return main && isDeepStrictEqual(matrix, main.matrix) ? 1 : 2;
  };
  return all.toSorted((a, b) => rank(a) - rank(b));
}
