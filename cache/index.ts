/**
 * The index of results: which content a cell's fingerprint led to. One row a fingerprint, kept for good, so that
 * reverting an edit finds the earlier result again. A row that is no longer what was saved is an unknown result.
 */
import type { Content } from './content.ts';
import type { Database } from './database.ts';
import { checkOf } from './sealed.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export interface Result {
  fingerprint: string;
  /** What the result belongs to; its history is kept by this name. */
  subject: string;
  outputs: Record<string, Content>;
  /** Whatever the caller wants to find again with the result. */
  record: Json;
  /** ISO date, for people: order is the order of saving, whatever the clock did. */
  created: string;
}

/** A result without its record: there are many, and records are large. */
export type Entry = Omit<Result, 'record'> & { number: number };

export const RESULTS_TABLE = `
  create table results (
    number integer primary key autoincrement,
    fingerprint text not null unique, subject text not null, outputs text not null, record text not null, created text not null
  );
  create index results_by_subject on results (subject, number);`;

/** Rows of before that are no JSON any more never get a check. */
export const CHECKED_RESULTS = `
  alter table results add column checked text;
  update results set checked = check_of(fingerprint, subject, outputs, record, created) where json_valid(outputs) and json_valid(record);`;

export class ResultIndex {
  constructor(
    private readonly database: Database,
    /** Called once when a result cannot be kept because the cache is read-only. */
    private readonly notKept: () => void,
  ) {}

  find(fingerprint: string): Result | undefined {
    const row = this.database.look(undefined, (statement) => statement('select * from results where fingerprint = ?').get(fingerprint));
    return row && isWhole(row) && row.fingerprint === fingerprint ? resultOf(row) : undefined;
  }

  /** The same of many, by fingerprint. */
  findAll(fingerprints: string[]): Map<string, Result> {
    const rows = this.database.look([], (statement) =>
      statement('select * from results where fingerprint in (select value from json_each(?))').all(JSON.stringify(fingerprints)),
    );
    return new Map(rows.filter(isWhole).map((row) => [row.fingerprint, resultOf(row)]));
  }

  /** On the disk when it returns; their objects must be there already. Replaces earlier results of the same fingerprints. */
  save(...results: Result[]): void {
    if (this.database.readOnly) {
      this.notKept();
      return;
    }
    this.database.commit((statement) => {
      for (const { fingerprint, subject, outputs, record, created } of results) {
        const row = [fingerprint, subject, JSON.stringify(outputs), JSON.stringify(record), created];
        statement('replace into results (fingerprint, subject, outputs, record, created, checked) values (?, ?, ?, ?, ?, ?)').run(
          ...row,
          checkOf(...row),
        );
      }
    });
  }

  /** Newest first. */
  history(subject: string, limit: number): Result[] {
    const rows = this.database.look([], (statement) =>
      statement('select * from results where subject = ? order by number desc limit ?').all(subject, limit),
    );
    return rows.filter((row) => isWhole(row) && row.subject === subject).map(resultOf);
  }

  /** With their records, the oldest first. */
  *everything(): Generator<Result> {
    for (const { fingerprint } of this.all()) {
      const result = this.find(fingerprint);
      if (result) yield result;
    }
  }

  /** The oldest first. */
  all(): Entry[] {
    const rows = this.database.use((statement) =>
      statement(`
        select number, fingerprint, subject, outputs, created from results
        where checked = check_of(fingerprint, subject, outputs, record, created) order by number`).all(),
    );
    return (rows as any[]).map((row) => ({ ...row, outputs: outputsIn(row.outputs) }));
  }

  /** Once this returns, nothing finds them any more. */
  remove(fingerprints: string[]): void {
    if (this.database.readOnly || fingerprints.length === 0) return;
    this.database.commit((statement) => {
      for (const fingerprint of fingerprints) statement('delete from results where fingerprint = ?').run(fingerprint);
    });
  }
}

/** By names that users give, such as `constructor`: an object without a prototype has no others. */
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
    // Of a thousand results that are fresh nobody asks for it.
    get record() {
      return JSON.parse(record);
    },
    created,
  };
}
