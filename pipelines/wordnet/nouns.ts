/** Reads data.noun of WordNet's database (https://wordnet.princeton.edu/documentation/wndb5wn). Each line is one meaning of a noun. */

export interface Noun {
  /** The offset of the line in the file, which is WordNet's own identifier. */
  id: string;
  /** The first word with this meaning. */
  word: string;
  definition: string;
  /** One of 26 categories, e.g. `animal`: WordNet's lexicographers had a file for each. */
  category: string;
  /** The hypernym: the word for what it is a kind of. Absent for the topmost noun and for names of persons, places and events. */
  kind?: string;
}

export function nounsOf(file: string): Noun[] {
  // The licence comes before the data, on lines that begin with a space.
  const lines = file.split('\n').filter((line) => /^\d/.test(line));
  const meanings = lines.map(meaningOf);
  const words = new Map(meanings.map(({ id, word }) => [id, word]));
  return meanings.map(({ kindId, ...noun }) => (kindId === undefined ? noun : { ...noun, kind: words.get(kindId)! }));
}

/**
 * `offset lexicographer-file n number-of-words {word lexical-id}… number-of-pointers {symbol offset pos source/target}… | gloss`;
 * the number of words is hexadecimal, and a gloss is a definition and, in quotes, examples.
 */
function meaningOf(line: string): Noun & { kindId?: string } {
  const bar = line.indexOf(' | ');
  const fields = line.slice(0, bar).split(' ');
  const pointers = fields.slice(4 + 2 * Number.parseInt(fields[3]!, 16) + 1);
  const place = pointers.findIndex((symbol, i) => i % 4 === 0 && symbol === '@');
  const definition = line
    .slice(bar + 3)
    .split(/[;:]?\s*"/)[0]!
    .trim()
    .replace(/;$/, '');
  return {
    id: fields[0]!,
    word: fields[4]!.replaceAll('_', ' '),
    definition,
    category: CATEGORIES[Number(fields[1]) - FIRST]!,
    ...(place >= 0 ? { kindId: pointers[place + 1]! } : {}),
  };
}

/** In the order of the lexicographers' files, from number 3 (https://wordnet.princeton.edu/documentation/lexnames5wn). */
const FIRST = 3;
const CATEGORIES =
  'top act animal artifact attribute body cognition communication event feeling food group location motive object person phenomenon plant possession process quantity relation shape state substance time'.split(
    ' ',
  );
