import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import baseline from '../../../steps/baseline/step.ts';
import { ranStep, table } from '../rig.ts';
import { rows } from '../small.ts';

test('rows without a label are rejected with a count, or dropped if the option says so, as in tokenize', async () => {
  const data = await table(rows({ train: 40, test: 20 }).map((row, i) => (i % 10 === 0 ? { ...row, label: '' } : row)));
  const options = { metrics: ['accuracy'], methods: ['majority'] };
  await expect(ranStep(baseline, options, { data })).rejects.toMatchObject({
    message: '4 of 40 rows of the split train have no label',
    hint: '`missing: drop` leaves such rows out.',
  });
  const { outputs } = await ranStep(baseline, { ...options, missing: 'drop' }, { data });
  expect(JSON.parse(readFileSync(outputs.metrics!, 'utf8'))).toMatchObject({ rows: 18, labels: ['bad', 'good'] });
});
