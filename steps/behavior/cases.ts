/** Makes the cases of each test: filled templates, given cases, and texts of the data, each before and after a change. */

import { StepError } from '../../engine/contract/step.ts';
import { Database, type Row } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import { random } from '../ml/models/random.ts';
import { type Field, type Input, partOfInput } from '../ml/tasks/task.ts';
import { added, changeLexicon, listsOf, type NamedChange, namedChange, replacements, type TextChange, typos, versions } from './changes.ts';
import type { Lexicons } from './lexicons.ts';
import { fieldNamed } from './model-checks.ts';
import { type BehaviorTest, type Expectation, type GivenCase, kindOf, NO_TEXTS, readsData, type TestKind } from './options.ts';
import { countFillings, type Filling, fill, fillingAt, lexiconOf, sample, slotsOf } from './template.ts';

/** One case: an input with the expected answer, or an input before and after a change. */
export interface BehaviorCase {
  /** The row of the data. */
  row: string | undefined;
  before: Input;
  after?: Input;
  expect?: Expectation;
}

export interface PreparedTest {
  name: string;
  kind: TestKind;
  options: BehaviorTest;
  /** The field that is changed, and the only one of a text without fields. */
  field: string;
  cases: BehaviorCase[];
  /** How many texts were read, and how many of them the change left as they are. */
  texts: number;
  unchanged: number;
}

interface Preparing {
  tests: Record<string, BehaviorTest>;
  lexicons: Lexicons;
  /** The fields of an input, and the column of each. */
  fields: readonly Field[];
  columns: Record<string, string>;
  data: string | undefined;
  /** False for data without splits. */
  split: string | false | undefined;
  rows: number;
  seed: number;
}

export async function prepareTests(preparing: Preparing): Promise<PreparedTest[]> {
  const makers = Object.entries(preparing.tests).map(([name, options]) => new Maker(name, options, preparing));
  for (const maker of makers) if (!readsData(maker.options)) maker.addOwnTexts();
  const others = makers.filter(({ options }) => readsData(options));
  if (others.length > 0) {
    if (preparing.data === undefined) throw new StepError(NO_TEXTS.message, NO_TEXTS.hint, ['tests', others[0]!.name]);
    for await (const { id, input } of rowsOf(preparing.data, preparing)) for (const maker of others) maker.add(input, { row: id });
  }
  return makers.map((maker) => maker.prepared());
}

/** Collects the cases of one test. */
class Maker {
  readonly #field: string;
  readonly #change: TextChange | undefined;
  readonly #most: number;
  #texts = 0;
  #unchanged = 0;
  #chosen: { rank: number; order: number; cases: BehaviorCase[] }[] = [];

  constructor(
    readonly name: string,
    readonly options: BehaviorTest,
    private readonly preparing: Preparing,
  ) {
    const names = preparing.fields.map((field) => field.name);
    this.#field = options.field === undefined ? names[0]! : fieldNamed(options.field, names, preparing.columns);
    this.#change = changeOf(options, preparing.lexicons);
    this.#most = options.rows ?? (options.cases ? Number.POSITIVE_INFINITY : preparing.rows);
  }

  /** The filled templates, or the given cases. */
  addOwnTexts(): void {
    const { template, cases, expect } = this.options;
    for (const one of cases ?? []) {
      const { expect: own = expect, ...texts } = typeof one === 'string' ? ({} as GivenCase) : one;
      this.add(typeof one === 'string' ? this.#inputOf(one, own) : this.#inputOf(texts as Record<string, string>, own), { expect: own });
    }
    if (template === undefined) return;
    const templates = [template].flat().map((texts) => ({ texts, slots: [...new Set(textsIn(texts).flatMap(slotsOf))] }));
    const { lexicons, seed, rows } = this.preparing;
    const counts = templates.map(({ slots }) => countFillings(slots, lexicons));
    // A change may leave many of the texts as they are.
    const most = this.#change ? 10 * (this.options.rows ?? rows) : this.#most;
    const total = counts.reduce((sum, count) => sum + count, 0);
    for (let index of sample(Math.min(total, Number.MAX_SAFE_INTEGER), most, random('behavior-template', seed, this.name))) {
      let place = 0;
      while (index >= counts[place]!) index -= counts[place++]!;
      const { texts, slots } = templates[place]!;
      const filling = fillingAt(index, slots, lexicons);
      const filled = typeof texts === 'string' ? fill(texts, filling) : mapValues(texts, (text) => fill(text, filling));
      const own = expect === undefined ? undefined : filledExpectation(expect, filling);
      this.add(this.#inputOf(filled, own), { expect: own });
    }
  }

  /** A text of the data has a row. */
  add(input: Input, { row, expect }: { row?: string; expect?: Expectation | undefined }): void {
    const order = this.#texts++;
    const chance = random('behavior', this.preparing.seed, this.name, row ?? order);
    const cases: BehaviorCase[] = [];
    if (this.#change) {
      for (const version of versions(input[this.#field] ?? '', this.#change, chance))
        cases.push({ row, before: input, after: { ...input, [this.#field]: version } });
      if (cases.length === 0) this.#unchanged++;
    } else cases.push({ row, before: input, ...(expect !== undefined && { expect }) });
    if (cases.length === 0) return;
    // The rank of a row is the same in all tests, which then share the answers to their texts.
    this.#chosen.push({ rank: random('behavior-row', this.preparing.seed, row ?? order)(), order, cases });
    if (this.#chosen.length >= 2 * this.#most + 1000) this.#cut();
  }

  prepared(): PreparedTest {
    this.#cut();
    return {
      name: this.name,
      kind: kindOf(this.options),
      options: this.options,
      field: this.#field,
      cases: this.#chosen.sort((a, b) => a.order - b.order).flatMap(({ cases }) => cases),
      texts: this.#texts,
      unchanged: this.#unchanged,
    };
  }

  #cut(): void {
    if (this.#chosen.length > this.#most) this.#chosen = this.#chosen.sort((a, b) => a.rank - b.rank).slice(0, this.#most);
  }

  /** The list of words of a text if tags are expected for them. */
  #inputOf(texts: string | Record<string, string>, expect: Expectation | undefined): Input {
    const [first] = this.preparing.fields;
    const input = typeof texts === 'string' ? { [first!.name]: texts } : texts;
    const main = input[first!.name]!;
    return first!.words && Array.isArray(expect) ? partOfInput(first!, main.split(/\s+/).filter(Boolean))! : input;
  }
}

/** Undefined for a test of minimum functionality. */
function changeOf({ change, add, at = 'end' }: BehaviorTest, lexicons: Lexicons): TextChange | undefined {
  if (add !== undefined) return (text, random) => [add].flat().map((phrase) => added(text, filledAtRandom(phrase, lexicons, random), at));
  if (change === undefined) return undefined;
  const [name, form] = formOf(change);
  if (name === 'typos') return typos((form as number | undefined) ?? 1);
  if (name === 'replace') return replacements(form as [string, string][]);
  if (name === 'lexicon') return changeLexicon(lexicons[form as string]!);
  return namedChange(name as NamedChange, form as string | undefined, lexicons);
}

const formOf = (change: NonNullable<BehaviorTest['change']>): [name: string, form: unknown] =>
  typeof change === 'string' ? [change, undefined] : Object.entries(change)[0]!;

function filledAtRandom(phrase: string, lexicons: Lexicons, random: () => number): string {
  const slots = slotsOf(phrase);
  const index = Math.floor(random() * countFillings(slots, lexicons));
  return fill(phrase, fillingAt(index, slots, lexicons));
}

/** Fills the slots that the template has; other braces stay. */
function filledExpectation(expect: Expectation, filling: Filling): Expectation {
  const filled = (text: string) => text.replace(/\{([^{}]*)\}/g, (found, slot: string) => filling.get(slot) ?? found);
  if (typeof expect === 'number') return expect;
  if (typeof expect === 'string') return filled(expect);
  if (Array.isArray(expect)) return expect.map(filled);
  return mapValues(expect, (value) => (Array.isArray(value) ? value.map(filled) : filled(value)));
}

const mapValues = <T, U>(map: Record<string, T>, change: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]));

/* The texts of the data. */

async function* rowsOf(folder: string, { fields, columns, split }: Preparing): AsyncGenerator<{ id: string; input: Input }> {
  const database = await Database.open();
  try {
    const table = tableOf(folder);
    const known = await database.columns(table);
    const { text } = await namesOf(folder);
    const used = fields
      .filter(({ optional }) => !optional)
      .map((field) => ({ field, column: own(columns, field.name) ?? (field.name === 'text' ? text : undefined) ?? field.name }));
    for (const { column } of used) requireColumn(known, column, 'data');
    const condition = await splitCondition(database, table, { split, hasSplits: known.some(({ name }) => name === 'split') });
    const selected = used.map(({ field: { name, group }, column }) =>
      group ? `${quote(column)}::VARCHAR AS ${quote(name)}` : `coalesce(${quote(column)}::VARCHAR, '') AS ${quote(name)}`,
    );
    for await (const rows of database.stream<Row>(`SELECT id::VARCHAR AS id, ${selected.join(', ')} FROM ${table}${condition} ORDER BY id`))
      for (const { id, ...values } of rows)
        yield { id: id as string, input: Object.assign({}, ...used.map(({ field }) => partOfInput(field, values[field.name]))) };
  } finally {
    database.close();
  }
}

async function splitCondition(
  database: Database,
  table: string,
  { split, hasSplits }: { split: string | false | undefined; hasSplits: boolean },
): Promise<string> {
  if (!hasSplits) {
    if (!split) return '';
    throw new StepError('the data have no column `split`', 'Write `split: false`, or give the `data` of a split step.', ['split']);
  }
  if (split === false)
    throw new StepError('`split: false`, but the data have a column `split`', 'Set `split` to the name of a split, such as test.', [
      'split',
    ]);
  const name = split ?? 'test';
  const splits = await database.rows<{ split: string }>(
    `SELECT DISTINCT split::VARCHAR AS split FROM ${table} WHERE split IS NOT NULL ORDER BY ALL`,
  );
  if (!splits.some((one) => one.split === name))
    throw new StepError(
      `the data have no split "${name}"`,
      splits.length === 0 ? 'The table has no rows.' : `Set \`split\` to one of these: ${splits.map((one) => one.split).join(', ')}.`,
      ['split'],
    );
  return ` WHERE split::VARCHAR = ${literal(name)}`;
}

const own = <T>(map: Record<string, T>, key: string): T | undefined => (Object.hasOwn(map, key) ? map[key] : undefined);

const textsIn = (texts: string | Record<string, string>): string[] => (typeof texts === 'string' ? [texts] : Object.values(texts));

/** The lexicons that a test uses. */
export function lexiconsOf({ template, change, add }: BehaviorTest): string[] {
  const texts = [...[template ?? []].flat().flatMap(textsIn), ...[add ?? []].flat()];
  const used = texts.flatMap(slotsOf).map(lexiconOf);
  if (change === undefined) return used;
  const [name, form] = formOf(change);
  return [...used, ...(name === 'lexicon' ? [form as string] : listsOf(name as NamedChange, form as string | undefined))];
}
