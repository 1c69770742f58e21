/** Finds a past run by its number, `latest` or `previous`, and formats its commit and counts. */
import { type RunRecord, runs } from '../run/records.ts';
import { usage } from './pipeline-file.ts';

/** The number of a run, which the user gives as a number, `latest` or `previous`. */
export function runNamed(root: string, word: string): number {
  const place = ['latest', 'previous'].indexOf(word);
  if (place < 0 && !/^\d{1,15}$/.test(word)) throw usage(`"${word}" is no run`, 'Give the number of a run, latest or previous.');
  const known = runs(root, Number.MAX_SAFE_INTEGER).map(({ id }) => id);
  if (known.length === 0) throw usage('there are no runs yet');
  const id = place < 0 ? Number(word) : known[place];
  if (id === undefined) throw usage('there is no run before the latest', '`tunesmith runs` lists them.');
  if (!known.includes(id)) throw usage(`there is no run ${word}`, '`tunesmith runs` lists them.');
  return id;
}

/** `1a2b3c4`, or `1a2b3c4+` if there were uncommitted changes. */
export function commitOf({ git }: RunRecord): string {
  return git ? `${git.commit.slice(0, 7)}${git.dirty ? '+' : ''}` : '–';
}

export function countsOf({ counts, state }: RunRecord): string {
  const told = Object.entries(counts).filter(([, n]) => n > 0);
  if (told.length > 0) return told.map(([name, n]) => `${n.toLocaleString('en-US')} ${name}`).join(', ');
  return state === 'ended' ? 'nothing' : state === 'running' ? 'running' : 'interrupted';
}
