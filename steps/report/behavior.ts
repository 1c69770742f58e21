/** Behaviour tests: the failure rate of each test, and failed cases. */

import { type Fields, fieldsOf, type JsonFile, listOf, numberOf, plainText, withBounds } from './artifacts.ts';
import { type Block, beginning, count, percent, type Section, type ShownExample, shown, type TableCell } from './document.ts';
import { ofEach } from './judgements.ts';

export function behaviorSection(all: readonly JsonFile[]): Section | undefined {
  const blocks = ofEach(all, behaviorBlocks);
  return blocks.length === 0 ? undefined : { id: 'behavior', title: 'Behaviour tests', blocks };
}

function behaviorBlocks(file: Fields): Block[] {
  const all = Object.entries(fieldsOf(file.tests)).map(([name, test]) => ({ name, test: fieldsOf(test) }));
  if (all.length === 0) return [];
  const isFailed = ({ test }: (typeof all)[number]) => Number(test.passed === false);
  const tests = all.length > MOST_TESTS ? all.toSorted((a, b) => isFailed(b) - isFailed(a)).slice(0, MOST_TESTS) : all;
  const blocks: Block[] = [
    {
      kind: 'table',
      caption: 'Tests, with the share of cases that failed',
      header: ['test', 'kind', 'cases', 'failed', 'failure rate', 'limit', 'result'],
      rows: tests.map(({ name, test }) => {
        const rate = numberOf(test.failure_rate);
        return [
          name,
          plainText(test.kind),
          shown(numberOf(test.cases)),
          shown(numberOf(test.failures)),
          { text: withBounds(rate, test.interval, test.undefined, percent), ...(rate !== undefined && { share: rate }) },
          plainText(test.max_failures) || '–',
          resultOf(test),
        ];
      }),
      numeric: [2, 3, 4, 5],
      ...(all.length > tests.length && { more: `+ ${count(all.length - tests.length)} more tests` }),
    },
  ];
  for (const { name, test } of tests) {
    const examples = listOf(test.examples).map(fieldsOf);
    if (examples.length === 0) continue;
    blocks.push({
      kind: 'examples',
      heading: `Failed cases of ${name}`,
      examples: examples.slice(0, MOST_CASES).map(failedCase),
      ...(examples.length > MOST_CASES && { more: `+ ${examples.length - MOST_CASES} more in the report of the step` }),
    });
  }
  return blocks;
}

const MOST_TESTS = 60;

const MOST_CASES = 4;

/** A test without a limit has no result. */
function resultOf({ passed, max_failures: limit }: Fields): TableCell {
  if (passed === true) return { text: 'passed', tone: 'good' };
  if (passed === false) return { text: 'failed', tone: 'bad' };
  return { text: limit === undefined ? '–' : 'n/a' };
}

/** The text before and after the change, and the other fields of the input; all else are facts. */
function failedCase({ before, after, ...others }: Fields): ShownExample {
  const facts = Object.entries(others).flatMap(([name, value]): ShownExample['facts'] =>
    value === null ? [] : [[name.replaceAll('_', ' '), beginning(typeof value === 'number' ? shown(value) : plainText(value), 200)]],
  );
  const texts = Object.entries({ before, after }).filter(([, text]) => typeof text === 'string');
  return {
    facts,
    fields: texts.map(([name, text]) => ({
      ...(texts.length > 1 && { name }),
      parts: [{ text: beginning(String(text), 400) }],
    })),
    notes: [],
  };
}
