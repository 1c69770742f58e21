/** What the loader of each format is given, and what all of them say of the columns that they find. */
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
  /** Whether the order of rows means something: that of a query's does not. */
  ordered: boolean;
  delimiter?: string | undefined;
  columns?: string[] | undefined;
  /** What the user should know of the files. */
  note(message: string): void;
}

/** Says which files lack columns that others have; `named`: the columns of each. */
export function noteMissing(named: Map<string, string[]>, note: Loading['note']): void {
  const spelled = new Map([...named.values()].flat().map((name) => [name.toLowerCase(), name]));
  for (const [lower, name] of spelled) {
    const lacking = [...named].filter(([, names]) => !names.some((one) => one.toLowerCase() === lower)).map(([source]) => source);
    if (lacking.length > 0)
      note(
        `the column \`${name}\` is missing in ${lacking.length} of ${named.size} files and null there: ${lacking.slice(0, 3).join(', ')}${lacking.length > 3 ? ', …' : ''}`,
      );
  }
}

export function refuseSameNames(names: string[], place: string): void {
  if (names.length > 1000) throw new StepError(`${place}: ${names.length} columns are too many`, 'A table has 1,000 at most.');
  const seen = new Map<string, string>();
  for (const name of names) {
    const same = seen.get(name.toLowerCase());
    if (same === name) throw new StepError(`${place}: two columns are named \`${name}\``, 'Rename one of them.');
    if (same)
      throw new StepError(
        `${place}: \`${same}\` and \`${name}\` differ only in case, which SQL does not tell apart`,
        'Rename one of them.',
      );
    seen.set(name.toLowerCase(), name);
  }
}
