/** What every loader of `collect` needs: the files, checks of column names, and a place for rejected rows. */

import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { BIGINT, VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import type { Appender, Database } from '../ml/data/database.ts';
import { likelyUtf16, type SourceFile, type TextEncoding } from '../ml/data/encodings.ts';

export interface Loading {
  database: Database;
  /** Each file as its turn comes. */
  files: Iterable<SourceFile>;
  rejected: Rejected;
  encoding: TextEncoding;
  types: ColumnTypes;
  /** Whether the order of rows is meaningful: that of a query's result is not. */
  ordered: boolean;
  delimiter?: string | undefined;
  columns?: string[] | undefined;
  /** Receives warnings about the files. */
  note(message: string): void;
}

export type ColumnType = 'text' | 'number' | 'boolean';

export type ColumnTypes = Record<string, ColumnType>;

/** Warns of files that lack columns; `named`: the columns of each file. */
export function noteMissing(named: Map<string, string[]>, note: Loading['note']): void {
  const spelled = new Map([...named.values()].flat().map((name) => [name.toLowerCase(), name]));
  for (const [lower, name] of spelled) {
    const lacking = [...named].filter(([, names]) => !names.some((one) => one.toLowerCase() === lower)).map(([source]) => source);
    if (lacking.length > 0)
      note(
        `the column \`${name}\` is missing in ${lacking.length} of ${named.size} files, whose rows have null there: ${lacking.slice(0, 3).join(', ')}${lacking.length > 3 ? ', …' : ''}`,
      );
  }
}

export function refuseSameNames(names: string[], place: string): void {
  if (names.length > 1000) throw new StepError(`${place}: too many columns: ${names.length}`, 'A table can have at most 1,000.');
  const seen = new Map<string, string>();
  for (const name of names) {
    const same = seen.get(name.toLowerCase());
    if (same === name) throw new StepError(`${place}: two columns have the name \`${name}\``, 'Rename one of them.');
    if (same)
      throw new StepError(
        `${place}: \`${same}\` and \`${name}\` differ only in case, which SQL does not distinguish`,
        'Rename one of them.',
      );
    seen.set(name.toLowerCase(), name);
  }
}

/** Counts rejected rows and writes them with the reason. Too many of them fail the step. */
export class Rejected {
  count = 0;

  private constructor(
    private readonly database: Database,
    private readonly appender: Appender,
  ) {}

  static async open(database: Database): Promise<Rejected> {
    await database.run('CREATE TABLE rejected (source VARCHAR, "row" BIGINT, reason VARCHAR, value VARCHAR)');
    return new Rejected(database, await database.append('rejected', [VARCHAR, BIGINT, VARCHAR, VARCHAR]));
  }

  add(source: string, row: number, reason: string, value: string): void {
    this.count++;
    this.appender.add(source, BigInt(row), reason, value.slice(0, longestValue));
  }

  /** Ends the adding. Fails if more than the share `limit` of `read` rows were rejected; otherwise writes them to `file`. */
  async settle(read: number, limit: number, file: string): Promise<void> {
    this.appender.close();
    if (this.count > read * limit) throw await this.tooMany(read, limit);
    if (this.count === 0) return;
    const rows = this.database.stream('SELECT * FROM rejected ORDER BY source, "row", reason, value');
    const lines = async function* () {
      for await (const chunk of rows) yield chunk.map((row) => `${JSON.stringify(row)}\n`).join('');
    };
    await pipeline(lines, createWriteStream(file));
  }

  /** How many rows for which reason, for messages. */
  async summary(): Promise<string> {
    const reasons = await this.database.rows<{ reason: string; n: number }>(
      "SELECT regexp_replace(reason, ': .*', '') AS reason, count(*) AS n FROM rejected GROUP BY ALL ORDER BY n DESC, reason LIMIT 5",
    );
    return reasons.map(({ reason, n }) => `${n} ${reason}`).join(', ');
  }

  /** The error if every row is bad although `limit` allows it. */
  async noneLeft(): Promise<StepError> {
    const { place, others, encoding } = await this.first();
    return new StepError(`${place}; all ${this.count} rows are bad, so no row remains`, `${others}Correct the rows.${encoding}`);
  }

  private async tooMany(read: number, limit: number): Promise<StepError> {
    const count = this.count;
    const { place, others, encoding } = await this.first();
    return new StepError(
      `${place}${count > 1 ? `; ${count} of ${read} rows are bad` : `; that is 1 bad row of ${read}`}, more than ${percent(limit)}`,
      `${others}Correct the rows, or allow more with \`max_rejected\`.${encoding}`,
    );
  }

  /** Describes the first bad rows, and suggests an encoding. */
  private async first(): Promise<{ place: string; others: string; encoding: string }> {
    const first = await this.database.rows<{ source: string; row: number; reason: string; value: string }>(
      'SELECT source, "row", reason, value FROM rejected ORDER BY source, "row" LIMIT 5',
    );
    const [place, ...others] = first.map(({ source, row, reason }) => `${source}:${row}: ${reason}`);
    const nul = first.find(({ reason, value }) => /^not (JSON|UTF-8)/.test(reason) && value.includes('\0'));
    return {
      place: place!,
      others: others.length > 0 ? `Also ${others.join('; ')}${this.count > first.length ? '; …' : ''}. ` : '',
      encoding: nul
        ? ` The file may be UTF-16: set \`encoding: ${likelyUtf16(nul.value)}\`.`
        : first.some(({ reason }) => reason === 'not UTF-8')
          ? ' If the file is not UTF-8, set `encoding`, such as latin1 or windows-1252.'
          : '',
    };
  }
}

const longestValue = 10_000;

const percent = (share: number) => `${Number((share * 100).toPrecision(3))}%`;
