/**
 * The index of results: the content that belongs to each fingerprint. Rows are kept until gc removes them, so that reverting an
 * edit finds the earlier result again. A damaged row counts as an unknown result.
 */
import type { Content } from './content.ts';
import { checkOf, type SqliteDatabase } from './database.ts';

type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

export interface Result {
  fingerprint: string;
  /** The name of the cell that the result belongs to, which identifies its history. */
  subject: string;
  outputs: Record<string, Content>;
  /** Data of the caller that is stored with the result. */
  record: JsonValue;
  /** ISO date for display. The order of results is the order of saving, which does not depend on the clock. */
  created: string;
}

/** A result without its record, because records are large. */
export type ResultEntry = Omit<Result, 'record'> & { number: number };

export const RESULTS_TABLE = `
  create table results (
    number integer primary key autoincrement,
    fingerprint text not null unique, subject text not null, outputs text not null, record text not null, created text not null
  );
  create index results_by_subject on results (subject, number);`;

/** Damaged rows of older versions, which are not JSON, get no checksum. */
export const CHECKED_RESULTS = `
  alter table results add column checked text;
  update results set checked = check_of(fingerprint, subject, outputs, record, created) where json_valid(outputs) and json_valid(record);`;

export class ResultIndex {
  constructor(
    private readonly database: SqliteDatabase,
    /** Called once if a result cannot be stored because the cache is read-only. */
    private readonly notKept: () => void,
  ) {}

  find(fingerprint: string): Result | undefined {
    const row = this.database.read(undefined, (statement) => statement('select * from results where fingerprint = ?').get(fingerprint));
    return row && isWhole(row) && row.fingerprint === fingerprint ? resultOf(row) : undefined;
  }

  /** Results by fingerprint. */
  findAll(fingerprints: string[]): Map<string, Result> {
    const rows = this.database.read([], (statement) =>
      statement('select * from results where fingerprint in (select value from json_each(?))').all(JSON.stringify(fingerprints)),
    );
    return new Map(rows.filter(isWhole).map((row) => [row.fingerprint, resultOf(row)]));
  }

  /** Saves results, which are on the disk when this returns. Their objects must be stored already. Replaces results of the same fingerprints. */
  save(...results: Result[]): void {
    if (this.database.readOnly) {
      this.notKept();
      return;
    }
    this.database.commit((statement) => {
      for (const { fingerprint, subject, outputs, record, created } of results) {
        const row = [fingerprint, subject, JSON.stringify(outputs), JSON.stringify(record), created];
        const sql = 'replace into results (fingerprint, subject, outputs, record, created, checked) values (?, ?, ?, ?, ?, ?)';
        statement(sql).run(...row, checkOf(...row));
      }
    });
  }

  /** Newest first. */
  history(subject: string, limit: number): Result[] {
    const rows = this.database.read([], (statement) =>
      statement('select * from results where subject = ? order by number desc limit ?').all(subject, limit),
    );
    return rows.filter((row) => isWhole(row) && row.subject === subject).map(resultOf);
  }

  /** All results with their records, oldest first. */
  *everything(): Generator<Result> {
    for (const { fingerprint } of this.all()) {
      const result = this.find(fingerprint);
      if (result) yield result;
    }
  }

  /** All results, oldest first. */
  all(): ResultEntry[] {
    const sql = `select number, fingerprint, subject, outputs, created from results
      where checked = check_of(fingerprint, subject, outputs, record, created) order by number`;
    return this.database.all(sql).map((row) => ({ ...row, outputs: outputsIn(row.outputs) }));
  }

  remove(fingerprints: string[]): void {
    if (this.database.readOnly || fingerprints.length === 0) return;
    this.database.commit((statement) => {
      for (const fingerprint of fingerprints) statement('delete from results where fingerprint = ?').run(fingerprint);
    });
  }
}

/** An object without a prototype, because users may choose names such as `constructor`. */
function outputsIn(json: string): Result['outputs'] {
  return Object.assign(Object.create(null), JSON.parse(json));
}

function isWhole({ fingerprint, subject, outputs, record, created, checked }: any): boolean {
  return checkOf(fingerprint, subject, outputs, record, created) === checked;
}

function resultOf(row: any): Result {
  const { fingerprint, subject, outputs, record, created } = row;
  return {
    fingerprint,
    subject,
    outputs: outputsIn(outputs),
    // Parse the record on demand, because fresh results do not need it.
    get record() {
      return JSON.parse(record);
    },
    created,
  };
}
