/**
 * Counts the passages that overlap with examples of tasks. It shares no code with pipelines/pretrain/unseen.ts, whose work it checks:
 * it is SQL, its words are runs of ASCII letters and digits without accents, and it compares the words themselves, not hashes of runs.
 */
import { DuckDBInstance } from '@duckdb/node-api';

export interface TaskOverlaps {
  /** Different texts of its examples that have a word. */
  texts: number;
  /** Passages that are an example, by a hash of the words. */
  same_text: number;
  /** Passages with a sentence of five words or more that is an example. */
  same_sentence: number;
  /** Passages with 13 words in a row that occur in an example. */
  thirteen_words: number;
}

export interface Overlaps {
  passages: number;
  words: number;
  tasks: Record<string, TaskOverlaps>;
}

/**
 * @param passages JSON lines with `text`
 * @param tasks for each task, queries whose first column is the texts of its examples
 */
export async function overlapsOf(passages: string, tasks: Record<string, string[]>): Promise<Overlaps> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjects();
  try {
    await connection.run(`
      CREATE MACRO words(text) AS regexp_extract_all(lower(strip_accents(text)), '[a-z0-9]+');
      CREATE MACRO hash_of(words) AS sha256(array_to_string(words, ' '));
      CREATE TABLE passage AS
        SELECT row_number() OVER () AS id, text, words(text) AS words FROM read_json(${literal(passages)}, format = 'newline_delimited', columns = {text: 'VARCHAR'});
      CREATE SEQUENCE ids;
      CREATE TABLE example (task VARCHAR, id BIGINT DEFAULT nextval('ids'), words VARCHAR[]);`);
    for (const [task, queries] of Object.entries(tasks))
      for (const query of queries)
        await connection.run(`
          INSERT INTO example (task, words)
          SELECT ${literal(task)}, words FROM (SELECT words(text) AS words FROM (${query}) AS texts(text)) WHERE len(words) > 0`);
    await connection.run(`
      CREATE TABLE text_of AS SELECT DISTINCT task, hash_of(words) AS hash FROM example;
      CREATE TABLE run_of AS SELECT DISTINCT key AS task, run FROM (${runsOf('example', 'task')});
      CREATE TABLE overlap AS
        SELECT DISTINCT 'same_text' AS kind, task, id FROM passage JOIN text_of ON hash_of(words) = hash
        UNION ALL
        SELECT DISTINCT 'same_sentence', task, id
        FROM (SELECT id, words(unnest(regexp_split_to_array(text, '[.!?]+'))) AS words FROM passage) JOIN text_of ON len(words) >= 5 AND hash_of(words) = hash
        UNION ALL
        SELECT DISTINCT 'thirteen_words', task, key AS id FROM (${runsOf('passage', 'id')}) JOIN run_of USING (run)`);
    const [{ passages: count, words }] = (await rows('SELECT count(*)::INT AS passages, sum(len(words))::INT AS words FROM passage')) as [
      any,
    ];
    const counts = await rows(`
      SELECT task, texts::INT AS texts, ${KINDS.map((kind) => `(SELECT count(*)::INT FROM overlap WHERE kind = '${kind}' AND overlap.task = t.task) AS ${kind}`).join(', ')}
      FROM (SELECT task, count(*) AS texts FROM text_of GROUP BY task) AS t`);
    return {
      passages: count,
      words,
      tasks: Object.fromEntries(
        Object.keys(tasks).map((name) => {
          const { task: _, ...found } = counts.find(({ task }) => task === name) ?? {};
          return [name, found as unknown as TaskOverlaps];
        }),
      ),
    };
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** A query for every 13 words in a row of a table's lists of words. Slices of a list would take time that grows with the square of its length. */
const runsOf = (table: string, key: 'id' | 'task') => `
  SELECT key, run
  FROM (
    SELECT key, concat_ws(' ', ${Array.from({ length: 13 }, (_, k) => `lead(word, ${k}) OVER one`).join(', ')}) AS run, lead(word, 12) OVER one AS last
    FROM (SELECT id, ${key} AS key, unnest(words) AS word, generate_subscripts(words, 1) AS place FROM ${table})
    WINDOW one AS (PARTITION BY id ORDER BY place))
  WHERE last IS NOT NULL`;

const KINDS = ['same_text', 'same_sentence', 'thirteen_words'] as const;

/** A query for every text in a file of JSON lines, in whichever field. */
export const textsIn = (file: string): string =>
  `SELECT found.atom->>'$' FROM read_json_objects(${literal(file)}, format = 'newline_delimited') AS line, json_tree(line.json) AS found WHERE found.type = 'VARCHAR'`;

export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
