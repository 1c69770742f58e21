/** What a past run is called by, and what is told of it in a word. */
import { type RunRecord, runs } from '../run/records.ts';
import { usage } from './pipeline-file.ts';

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

/** `1a2b3c4+`: with changes that are not committed. */
export function commitOf({ git }: RunRecord): string {
  return git ? `${git.commit.slice(0, 7)}${git.dirty ? '+' : ''}` : '–';
}

export function countsOf({ counts, state }: RunRecord): string {
  const told = Object.entries(counts).filter(([, n]) => n > 0);
  if (told.length > 0) return told.map(([name, n]) => `${n.toLocaleString('en-US')} ${name}`).join(', ');
  return state === 'ended' ? 'nothing' : state === 'running' ? 'is running' : 'was cut off';
}
