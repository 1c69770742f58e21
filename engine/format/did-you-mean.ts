/** "did you mean …?": suggests the most similar valid word. */

/** The hint for a word that is not in `valid`: the most similar word, and a list of the valid words if it is short. */
export function didYouMean(word: string, valid: Iterable<string>, list: string): string {
  const words = [...valid];
  const near = nearest(word, words);
  if (words.length <= FEW) {
    const all = words.length === 0 ? `${list}: none` : `${list}: ${words.join(', ')}`;
    return near === undefined ? all : `did you mean "${near}"? ${all}`;
  }
  if (near !== undefined) return `did you mean "${near}"?`;
  const akin = words.filter((other) => partsOf(other).some((part) => partsOf(word).includes(part)));
  const shown = akin.length > 0 ? akin : words;
  return `${list}: ${[...shown.slice(0, FEW), ...(shown.length > FEW || akin.length > 0 ? [`… (${words.length})`] : [])].join(', ')}`;
}

/** Maximum length of the list. */
const FEW = 12;

/** `num_train_epochs` and `numTrainEpochs`: num, train, epochs. */
function partsOf(word: string): string[] {
  return snakeCase(word)
    .split('_')
    .filter((part) => part.length > 2);
}

/** Converts `weight-decay` and `weightDecay` to `weight_decay`. */
function snakeCase(word: string): string {
  return word
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .replace(/[-\s.]+/g, '_')
    .toLowerCase();
}

/**
 * Looks up an option name of another tool: the option's name here, if there is one, and the hint. Undefined if the list does
 * not contain the word.
 */
export function knownAlias(
  word: string,
  aliases: Readonly<Record<string, string>>,
  names: string[],
): { name?: string; hint: string } | undefined {
  const key = [word, snakeCase(word)].find((one) => Object.hasOwn(aliases, one));
  if (key === undefined) return undefined;
  const here = aliases[key]!;
  const [, option] = /^([a-z]\w*)(:|$)/.exec(here) ?? [];
  const name = option !== undefined && names.includes(option) ? option : undefined;
  return { name, hint: here.endsWith('.') ? here : name === here ? `did you mean "${here}"?` : `did you mean \`${here}\`?` };
}

/** The most similar word; undefined if none is similar. A third of the letters may differ, but one if there are three. */
export function nearest(word: string, valid: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.floor(word.length / 3) + 1;
  const written = snakeCase(word);
  for (const candidate of valid) {
    if (snakeCase(candidate) === written) return candidate;
    if (Math.abs(candidate.length - word.length) >= least) continue;
    const far = candidate.toLowerCase() === word.toLowerCase() ? 0 : distance(word, candidate);
    if (far < least) [best, least] = [candidate, far];
  }
  return best;
}

/** Edit distance of two words. Swapping two neighbours counts as one edit. */
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
