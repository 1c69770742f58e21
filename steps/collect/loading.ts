/** What every loader needs, and the checks of column names that all of them share. */
import { StepError } from '../../engine/step.ts';
import type { SourceFile } from '../data/bytes.ts';
import type { Database } from '../data/database.ts';
import type { Encoding } from '../data/encodings.ts';
import type { Rejected } from './rejected.ts';
import type { ColumnTypes } from './types.ts';

export interface Loading {
  database: Database;
  /** Each file as its turn comes. */
  files: Iterable<SourceFile>;
  rejected: Rejected;
  encoding: Encoding;
  types: ColumnTypes;
  /** Whether the order of rows is meaningful: that of a query's result is not. */
  ordered: boolean;
  delimiter?: string | undefined;
  columns?: string[] | undefined;
  /** Receives warnings about the files. */
  note(message: string): void;
}

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
