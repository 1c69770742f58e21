/** Users interfere: inputs edited while a step reads them, steps that write to their inputs. (More: test/optional/chaos/changes.test.ts.) */
import { test } from 'vitest';
import { expectEditNoticed, expectObjectsUnchanged } from './interference.ts';

test.each([
  ['a file', 'data/in.txt', 'two\n'],
  ['a folder, and put back', 'data', 'one\n'],
])('input edited while a step runs: %s: the result is not stored, and the next run is clean', (_, inputs, last) =>
  expectEditNoticed(inputs, last),
);

test('a step that writes to its input: the objects in a cache that is here stay unchanged', () => expectObjectsUnchanged('here'));
