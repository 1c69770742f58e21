/** A file that is read step by step says what it says as a whole: the same values, keys in the same order, or no answer. */
import { expect, test } from 'vitest';
import { readInPieces } from '../../../engine/pipeline/large-source.ts';
import { parseText } from '../../../engine/pipeline/source.ts';

test('steps of one form are parsed once', () => {
  const steps = Array.from(
    { length: 5000 },
    (_, i) => `  s${i}:\n    run: echo ${i} > out/${i}.txt\n    needs: s${i - 1}\n    outputs: { o: "out/${i}.txt" }\n`,
  );
  let parsed = 0;
  const value = readInPieces(`steps:\n${steps.join('')}`, (text) => {
    parsed += text.length;
    return parseText(text);
  });
  expect((value as any).steps.s4999).toEqual({ run: 'echo 4999 > out/4999.txt', needs: 's4998', outputs: { o: 'out/4999.txt' } });
  // The first ten have a number of one digit.
  expect(parsed).toBeLessThan(5000);
});
