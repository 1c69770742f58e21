/** Data that do not fit in memory. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { temporary } from '../../steps/rig.ts';

test('data that do not fit in memory spill beside the output, and leave nothing behind', async () => {
  const folder = temporary();
  const database = await Database.open(folder, 2);
  await database.run("SET memory_limit = '64MB'");
  await database.run('CREATE TABLE made AS SELECT md5(i::VARCHAR) AS id, repeat(md5(i::VARCHAR), 8) AS text FROM range(400000) AS t(i)');
  await writeTable(database, 'made', folder);
  database.close();
  expect(readdirSync(folder).sort()).toEqual(['card.json', 'data.parquet']);
}, 120_000);
