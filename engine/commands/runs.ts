/** `tunesmith runs`: past runs, newest first. `runs show RUN`: one of them. `runs diff A B`: in what two of them differ. */
import { dirname } from 'node:path';
import { tableLines } from '../report/table.ts';
import { duration, moment } from '../report/text.ts';
import { type RunRecord, runs } from '../run/records.ts';
import { openPipeline, recordsRoot, usage } from './pipeline-file.ts';

export interface RunsOptions {
  file?: string;
  json?: boolean;
  rows: number;
}

export default async function listRuns(words: string[], options: RunsOptions): Promise<void> {
  const root = options.file ? (await openPipeline(options.file, {})).root : (recordsRoot() ?? dirname(process.cwd()));
  const [first, ...rest] = words;
  if (first === 'diff' && rest.length <= 2) {
    const { diffRuns } = await import('./runs-diff.ts');
    return print(diffRuns(root, rest, options));
  }
  const shown = first === 'show' ? (rest[0] ?? 'latest') : first;
  const extra = rest.slice(first === 'show' ? 1 : 0);
  if (extra.length > 0 || (first !== undefined && first !== 'show' && !/^(\d+|latest|previous)$/.test(first))) {
    throw usage(
      `runs does not know "${words.join(' ')}"`,
      'Write `tunesmith runs`, `tunesmith runs show 12` or `tunesmith runs diff 11 12`.',
    );
  }
  if (shown !== undefined) {
    const { showRun } = await import('./runs-show.ts');
    return print(showRun(root, shown, options));
  }
  const all = runs(root, options.rows);
  print(options.json ? all.map((record) => JSON.stringify(record)) : listLines(all));
}

/** The number of a run that is named by its number, as `latest` or as `previous`. */
export function runNamed(root: string, word: string): number {
  const place = ['latest', 'previous'].indexOf(word);
  if (place < 0 && !/^\d{1,15}$/.test(word)) throw usage(`"${word}" is no run`, 'A run is named by its number, as latest, or as previous.');
  const known = runs(root, Number.MAX_SAFE_INTEGER).map(({ id }) => id);
  if (known.length === 0) throw usage('nothing has run here yet');
  const id = place < 0 ? Number(word) : known[place];
  if (id === undefined) throw usage('there is no run before the latest', '`tunesmith runs` lists them.');
  if (!known.includes(id)) throw usage(`there is no run ${word}`, '`tunesmith runs` lists them.');
  return id;
}

function listLines(all: RunRecord[]): string[] {
  if (all.length === 0) return ['nothing has run here yet'];
  const rows = all.map((run) => [
    String(run.id),
    moment(run.started),
    run.pipeline,
    run.seconds === undefined ? '–' : duration(run.seconds),
    commitOf(run),
    countsOf(run),
  ]);
  const options = { columns: process.stdout.columns ?? 120, right: (c: number) => c === 3 };
  return tableLines(['run', 'started', 'pipeline', 'time', 'commit', 'cells'], rows, options);
}

/** `1a2b3c4+`: with changes that are not committed. */
export function commitOf({ git }: RunRecord): string {
  return git ? `${git.commit.slice(0, 7)}${git.dirty ? '+' : ''}` : '–';
}

export function countsOf({ counts, state }: RunRecord): string {
  const told = Object.entries(counts).filter(([, n]) => n > 0);
  if (told.length > 0) return told.map(([name, n]) => `${n.toLocaleString('en-US')} ${name}`).join(', ');
  return state === 'ended' ? 'nothing' : state === 'running' ? 'is running' : 'was cut off';
}

function print(lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}
