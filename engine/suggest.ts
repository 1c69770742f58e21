/** "did you mean …?": the nearest valid word to a mistyped one. */

/** Hint for a word that is not among `valid`: the nearest, and a list of what there is. */
export function didYouMean(word: string, valid: Iterable<string>, list: string): string {
  const words = [...valid];
  const near = nearest(word, words);
  const shown = words.length > 12 ? [...words.slice(0, 12), `… (${words.length})`] : words;
  const all = words.length === 0 ? `${list}: none` : `${list}: ${shown.join(', ')}`;
  return near === undefined ? all : `did you mean "${near}"? ${all}`;
}

/** Undefined where no word is near: a third of its letters may differ, and one of three. */
export function nearest(word: string, valid: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.floor(word.length / 3) + 1;
  for (const candidate of valid) {
    if (Math.abs(candidate.length - word.length) >= least) continue;
    const far = candidate.toLowerCase() === word.toLowerCase() ? 0 : distance(word, candidate);
    if (far < least) [best, least] = [candidate, far];
  }
  return best;
}

/** Edits between two words; swapping two neighbours counts as one. */
function distance(a: string, b: string): number {
  let [older, old] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(old[j]! + 1, row[j - 1]! + 1, old[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j]!, older[j - 2]! + 1);
    }
    [older, old] = [old, row];
  }
  return old[b.length]!;
}
