/** Fills the table `raw` from JSON and JSON lines. Types are inferred from all rows, not from a sample. */
import { BIGINT, VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import { literal } from '../ml/data/database.ts';
import { bytesOf, type SourceFile, wholeFiles } from '../ml/data/encodings.ts';
import {
  elementsOf,
  type FieldsFound,
  type JsonRow,
  KIND,
  pathOf,
  printed,
  readJson,
  readJsonLines,
  readLetters,
} from '../ml/data/json-rows.ts';
import { keptText } from './column-types.ts';
import { type ColumnTypes, type Loading, refuseSameNames } from './loading.ts';

interface JsonOfFile {
  file: SourceFile;
  rows: AsyncIterable<JsonRow[]>;
}

export async function loadJson(loading: Loading): Promise<void> {
  async function* files(): AsyncGenerator<JsonOfFile> {
    for await (const { file, bytes } of wholeFiles(loading.files, loading.encoding))
      yield { file, rows: readJson(bytes, file.source, loading.encoding.toUpperCase()) };
  }
  await loadRows(loading, files());
}

export async function loadJsonLines(loading: Loading): Promise<void> {
  async function* files(): AsyncGenerator<JsonOfFile> {
    for (const file of loading.files) yield { file, rows: readJsonLines(bytesOf(file, loading.encoding), loading.encoding.toUpperCase()) };
  }
  await loadRows(loading, files());
}

async function loadRows({ database, rejected, types, ordered, note }: Loading, files: AsyncIterable<JsonOfFile>): Promise<void> {
  await database.run('CREATE TABLE lines (__source VARCHAR, __row BIGINT, json VARCHAR)');
  const lines = await database.append('lines', [VARCHAR, BIGINT, VARCHAR]);
  const fields: FieldsFound = new Map();
  const add = (file: SourceFile, row: JsonRow) => {
    if (row.problem !== undefined) {
      rejected.add(file.source, row.row, row.problem, row.value);
      return;
    }
    const read = readLetters(row.json, fields, { source: file.source, row: row.row });
    if ('twice' in read) rejected.add(file.source, row.row, `the field \`${read.twice}\` occurs twice`, row.json);
    else if ('nul' in read)
      rejected.add(file.source, row.row, `the column name ${JSON.stringify(read.nul)} contains a NUL character`, row.json);
    else lines.add(file.source, BigInt(row.row), read.json);
  };
  for await (const { file, rows } of files) for await (const group of rows) for (const row of group) add(file, row);
  lines.close();
  if (!ordered)
    await database.run(
      `CREATE TABLE sorted AS SELECT __source, row_number() OVER (ORDER BY json) AS __row, json FROM lines ORDER BY json;
       DROP TABLE lines; ALTER TABLE sorted RENAME TO lines`,
    );
  const { structure } = await database.row<{ structure: string | null }>('SELECT json_group_structure(json::JSON) AS structure FROM lines');
  const found = structure?.startsWith('{') ? Object.entries(JSON.parse(structure) as Record<string, Structure>) : [];
  if (structure !== null && found.length === 0) throw new StepError('the JSON objects have no fields');
  refuseSameNames(
    found.map(([name]) => name),
    'the JSON objects',
  );
  const columns = found.map(([name, type]) => [name, columnType(name, type, fields, types)] as const);
  for (const [name, type] of columns) noteText(name, type, fields, types, note);
  const unnested = found.length > 0 ? `, unnest(from_json(json::JSON, ${literal(JSON.stringify(Object.fromEntries(columns)))}))` : '';
  await database.run(`CREATE TABLE raw AS SELECT __source, __row${unnested} FROM lines`);
  await database.run('DROP TABLE lines');
}

/** As DuckDB describes JSON: the name of a type, a list's element in brackets, an object's fields. */
type Structure = string | [Structure] | { [field: string]: Structure };

function columnType(name: string, type: Structure, fields: FieldsFound, types: ColumnTypes): Structure {
  const path = pathOf('', name);
  const wanted = Object.hasOwn(types, name) ? types[name] : undefined;
  if (wanted === 'text') return 'VARCHAR';
  const kinds = fields.get(path)?.kinds ?? 0;
  if (wanted === 'number' && isNumeric(kinds)) return kinds === KIND.whole ? 'BIGINT' : 'DOUBLE';
  // A column with values of several types, or of nulls only, is read as text.
  const simple = withLetters(type, path, fields);
  return typeof type === 'string' && ['JSON', 'NULL'].includes(simple as string) ? 'VARCHAR' : simple;
}

const isNumeric = (kinds: number) => kinds !== 0 && (kinds & ~(KIND.whole | KIND.fraction | KIND.odd)) === 0;

/**
 * Numbers become texts if a type would change how they are written. An object with hundreds of fields is a
 * dictionary, and stays JSON.
 */
function withLetters(type: Structure, path: string, fields: FieldsFound): Structure {
  if (typeof type === 'string') {
    const kinds = fields.get(path)?.kinds ?? 0;
    if (!isNumeric(kinds)) return { NULL: 'JSON', JSON: 'VARCHAR' }[type] ?? type;
    return { [KIND.whole]: 'BIGINT', [KIND.fraction]: 'DOUBLE' }[kinds] ?? 'VARCHAR';
  }
  if (Array.isArray(type)) return [withLetters(type[0], elementsOf(path), fields)];
  const inner = Object.entries(type);
  return inner.length > 200
    ? 'JSON'
    : Object.fromEntries(inner.map(([name, field]) => [name, withLetters(field, pathOf(path, name), fields)]));
}

/** Reports the values that made a column text: a number among numbers, or values of several kinds. */
function noteText(name: string, type: Structure, fields: FieldsFound, types: ColumnTypes, note: Loading['note']): void {
  const found = fields.get(pathOf('', name));
  if (Object.hasOwn(types, name) || !found) return;
  if (!isNumeric(found.kinds)) {
    const mixed = mixedKinds(type, { path: pathOf('', name), name }, fields);
    if (mixed) note(typeof type === 'string' ? `${mixed}; set \`types\` to change that` : mixed);
    return;
  }
  const odd = found.examples.get(KIND.odd);
  const whole = found.examples.get(KIND.whole);
  if (odd) note(keptText(name, odd, `would become ${printed(Number(odd.letters))} as a number`));
  else if (whole && found.examples.has(KIND.fraction))
    note(keptText(name, whole, `would become ${printed(Number(whole.letters))} as a number`));
}

/**
 * The first place in a column, including its lists and objects, where values of several kinds become texts; the first
 * value of each kind.
 */
function mixedKinds(type: Structure, { path, name }: { path: string; name: string }, fields: FieldsFound): string | undefined {
  if (Array.isArray(type)) return mixedKinds(type[0], { path: elementsOf(path), name: `${name}[]` }, fields);
  if (typeof type === 'object') {
    for (const [key, inner] of Object.entries(type)) {
      const mixed = mixedKinds(inner, { path: pathOf(path, key), name: `${name}.${key}` }, fields);
      if (mixed) return mixed;
    }
    return undefined;
  }
  const examples = KINDS.map(([noun, kinds]) => ({
    noun,
    example: kinds.map((kind) => fields.get(path)?.examples.get(kind)).find(Boolean),
  }));
  const found = examples.flatMap(({ noun, example }) => (example ? [{ noun, ...example }] : []));
  if (type !== 'VARCHAR' || found.length < 2) return undefined;
  const listed = found.map(({ noun, letters, source, row }) => `${letters.slice(0, 60)} (${source}:${row}) is ${noun}`);
  return `\`${name}\` contains values of several kinds, and is read as text: ${listed.join(', ')}`;
}

const KINDS: [noun: string, kinds: number[]][] = [
  ['a number', [KIND.whole, KIND.fraction, KIND.odd]],
  ['a text', [KIND.text]],
  ['a boolean', [KIND.boolean]],
  ['a list', [KIND.list]],
  ['an object', [KIND.object]],
];
