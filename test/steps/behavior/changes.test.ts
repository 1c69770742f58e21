/** The changes of texts and the verdicts, against CheckList's functions on stored texts (test/golden/behavior.py). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PreparedTest } from '../../../steps/behavior/cases.ts';
import {
  added,
  changeLexicon,
  type NamedChange,
  namedChange,
  otherNumber,
  replacements,
  stripPunctuation,
  swapped,
  typos,
  versions,
} from '../../../steps/behavior/changes.ts';
import { contract, expand } from '../../../steps/behavior/contractions.ts';
import { judge } from '../../../steps/behavior/judge.ts';
import { BUILT_IN } from '../../../steps/behavior/lexicons.ts';
import { random } from '../../../steps/ml/models/random.ts';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/behavior.json'), 'utf8'));

const chance = () => random('test', 0);
const changed = (text: string, name: NamedChange, form?: string) => versions(text, namedChange(name, form, BUILT_IN), chance());

describe('the values of CheckList', () => {
  test.each(golden.changes as any[])('$text', (stored) => {
    const { text } = stored;
    expect(expand(text)).toBe(stored.expand);
    expect(contract(text)).toBe(stored.contract);
    expect(changed(text, 'contractions')).toEqual(stored.contractions);
    expect(stripPunctuation(text)).toBe(stored.strip);
    expect(changed(text, 'punctuation')).toEqual(stored.punctuation);
    for (const { places, text: result } of stored.typos) expect(swapped(text, places)).toBe(result);
  });

  test('numbers stay within 20%', () => {
    for (const [number, range] of Object.entries(golden.numbers as Record<string, [number, number]>)) {
      const uniform = chance();
      const found = Array.from({ length: 20_000 }, () => otherNumber(Number(number), uniform));
      expect([found.reduce((a, b) => Math.min(a, b)), found.reduce((a, b) => Math.max(a, b))], number).toEqual(range);
      expect(found).not.toContain(Number(number));
    }
  });

  const answer = ([bad, good]: [number, number]) => ({ label: bad >= good ? 'bad' : 'good', scores: { bad, good } });
  const verdict = (options: object, kind: string, before: [number, number], after: [number, number]) => {
    const one = { row: 'r', before: { text: 'a' }, after: { text: 'b' } };
    const prepared = { kind, options } as PreparedTest;
    const judged = judge(
      prepared,
      one,
      { before: answer(before), after: answer(after) },
      {
        task: 'text-classification',
        problem: 'single_label_classification',
      },
    );
    return judged ? !judged.failed : null;
  };

  test('an invariance test passes where Expect.inv passes', () => {
    for (const { before, after, tolerance, passed } of golden.invariance)
      expect(verdict({ tolerance }, 'invariance', before, after), JSON.stringify({ before, after, tolerance })).toBe(passed);
  });

  test('a direction test passes where Expect.monotonic passes, and skips what cannot fail', () => {
    for (const { before, after, change, tolerance, passed } of golden.direction) {
      const score = { label: 'good', change, tolerance };
      expect(verdict({ score }, 'direction', before, after), JSON.stringify({ before, after, score })).toBe(passed);
    }
  });

  test('with at_least, a score must move by as much, and one without room to move is skipped', () => {
    const up = (before: number, after: number) =>
      verdict({ score: { label: 'good', change: 'up', at_least: 0.2 } }, 'direction', [1 - before, before], [1 - after, after]);
    expect([up(0.5, 0.75), up(0.5, 0.6), up(0.5, 0.5), up(0.9, 0.95)]).toEqual([true, false, false, null]);
  });
});

describe('changes', () => {
  test('typos swap adjacent characters that differ, and keep emojis whole', () => {
    for (const text of ['good film', 'aab', '😀😃 ok', 'ab'])
      for (let seed = 0; seed < 20; seed++) {
        const [version] = versions(text, typos(1), random('t', seed)) as [string];
        const [a, b] = [[...text], [...version]];
        const places = a.flatMap((character, i) => (character === b[i] ? [] : [i]));
        expect(places).toHaveLength(2);
        expect(places[1]).toBe(places[0]! + 1);
        expect([b[places[0]!], b[places[1]!]]).toEqual([a[places[1]!], a[places[0]!]]);
      }
    for (const text of ['', 'a', 'aaaa']) expect(versions(text, typos(1), chance())).toEqual([]);
    expect([...versions('abcdefgh', typos(3), chance())[0]!].sort().join('')).toBe('abcdefgh');
  });

  test('typographic apostrophes and double contractions are expanded, and "ain\'t" keeps its meaning', () => {
    expect(expand("It’s late; you can't've known. Ain't it?")).toBe('It is late; you cannot have known. Is not it?');
    expect(changed("it isn't", 'contractions', 'contract')).toEqual([]);
    expect(contract('ſhe is late; that i\u017f not')).toBe("she's late; that's not");
    expect(expand('it iſn’t')).toBe('it is not');
  });

  test('case', () => {
    expect(changed('A Good one', 'case')).toEqual(['a good one', 'A GOOD ONE']);
    expect(changed("it isn't o'clock", 'case', 'title')).toEqual(["It Isn't O'clock"]);
    expect(changed('123', 'case')).toEqual([]);
  });

  test('punctuation leaves abbreviations, and a text of marks alone', () => {
    expect(changed('made in the U.S.', 'punctuation')).toEqual(['made in the U.S..']);
    expect(changed('?!', 'punctuation')).toEqual([]);
    expect(changed('Fine?', 'punctuation', 'add')).toEqual([]);
  });

  test('names and places become others of their list, each always the same', () => {
    const text = 'Mary Smith met John in New York. Mary likes Paris; mary-ann and Marylin do not.';
    const [names] = changed(text, 'names') as [string];
    const [, first, last, male, again] = /^(\S+) (\S+) met (\S+) in New York\. (\S+) likes Paris; mary-ann and Marylin do not\.$/
      .exec(names)!
      .slice(0) as string[];
    expect(BUILT_IN.female_name).toContain(first);
    expect(BUILT_IN.last_name).toContain(last);
    expect(BUILT_IN.male_name).toContain(male);
    expect([first, last, male]).not.toEqual(['Mary', 'Smith', 'John']);
    expect(again).toBe(first);
    const [places] = changed(text, 'locations') as [string];
    expect(places).not.toMatch(/New York|Paris/);
    expect(changed(text, 'locations', 'country')).toEqual([]);
    expect(changed('Mary in Paris', 'names', 'last')).toEqual([]);
    expect(changed('mary went to paris', 'names')).toEqual([]);
    expect(changed('no name', 'names')).toEqual([]);
  });

  test('numbers: whole ones, but not 2, 4, dates, decimals and parts of words', () => {
    const [version] = changed('20 of 2 for 4, 3.5, 2024-01-02, mp3, 20', 'numbers') as [string];
    expect(version).toMatch(/^(\d+) of 2 for 4, 3\.5, 2024-01-02, mp3, \1$/);
    expect(version.startsWith('20 ')).toBe(false);
  });

  test('URLs and handles are appended and replaced', () => {
    const [appended, replaced] = changed('see https://example.org/a?b=c.', 'urls') as [string, string];
    expect(appended).toMatch(/^see https:\/\/example\.org\/a\?b=c\. https:\/\/t\.co\/\w{6}$/);
    expect(replaced).toMatch(/^see https:\/\/t\.co\/\w{6}\.$/);
    expect(changed('nothing', 'urls', 'replace')).toEqual([]);
    expect(changed('ask @ada or me@example.org', 'handles')[1]).toMatch(/^ask @\w{6} or me@example\.org$/);
  });

  test('replacements keep the case of the text and are made at once', () => {
    const swap = replacements([
      ['good', 'bad'],
      ['bad', 'good'],
      ['ice cream', 'cake'],
    ]);
    expect(versions('Good is not bad. GOODS? Ice cream!', swap, chance())).toEqual(['Bad is not good. GOODS? Cake!']);
    expect(versions('kettle', changeLexicon(['kettle']), chance())).toEqual([]);
    expect(versions('The Kettle', changeLexicon(['kettle', 'lamp']), chance())).toEqual(['The Lamp']);
  });

  test('a phrase is added with a space', () => {
    expect(added('A text.', 'More.', 'end')).toBe('A text. More.');
    expect(added('A text.', 'More.', 'start')).toBe('More. A text.');
    expect(added('', 'More.', 'end')).toBe('More.');
  });

  test('the same seed gives the same versions', () => {
    const twice = [random('a', 1), random('a', 1)].map((uniform) => versions('a longer text', typos(2), uniform));
    expect(twice[0]).toEqual(twice[1]);
  });
});
