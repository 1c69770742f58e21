/** Rejected rows: counts them and writes them with the reason. Too many of them fail the step. */

import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { StepError } from '../../engine/contract/step.ts';
import { type Appender, BIGINT, type Database, VARCHAR } from '../ml/data/database.ts';
import { likelyUtf16 } from '../ml/data/encodings.ts';

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
