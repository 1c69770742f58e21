/**
 * Unicode normalization in linear time. The library sorts the marks of a letter by insertion, in quadratic time:
 * 100,000 of them take seconds. Here long runs of marks are sorted first, by the library's own combining classes;
 * Unicode defines texts that differ only in the order of such marks as equivalent, so the result is the same.
 */

export function normalized(text: string, form: 'NFC' | 'NFKC'): string {
  if (!manyMarks.test(text)) return text.normalize(form);
  const parts: string[] = [];
  let done = 0;
  for (let start = text.search(manyMarks); start >= 0; ) {
    noMark.lastIndex = start;
    const end = noMark.exec(text)?.index ?? text.length;
    parts.push(text.slice(done, start), sorted(text.slice(start, end)));
    done = end;
    nextMany.lastIndex = end;
    start = nextMany.exec(text)?.index ?? -1;
  }
  return (parts.join('') + text.slice(done)).normalize(form);
}

/** No language has so many marks on a letter. */
const manyMarks = /\p{M}{32}/u;
const nextMany = /\p{M}{32}/gu;
const noMark = /\P{M}/gu;

/** The marks in canonical order. */
function sorted(marks: string): string {
  if (new Set(marks).size === 1) return marks;
  const parts: string[] = [];
  /** The marks since the last one that does not move, by class. */
  let movable = new Map<Class, string[]>();
  const flush = () => {
    for (const one of classes) {
      const own = movable.get(one);
      if (own) parts.push(own.join(''));
    }
    movable = new Map();
  };
  for (const mark of marks) {
    for (const piece of decomposition(mark)) {
      const own = classOf(piece);
      if (own === undefined) {
        flush();
        parts.push(piece);
        continue;
      }
      const list = movable.get(own);
      if (list) list.push(piece);
      else movable.set(own, [piece]);
    }
  }
  flush();
  return parts.join('');
}

const decompositions = new Map<string, string[]>();

function decomposition(mark: string): string[] {
  let pieces = decompositions.get(mark);
  if (!pieces) {
    pieces = [...mark.normalize('NFD')];
    decompositions.set(mark, pieces);
  }
  return pieces;
}

/** Marks that keep their order among each other. */
interface Class {
  example: string;
}

/** The classes of the marks so far, the lowest first. */
const classes: Class[] = [];

const classOfMark = new Map<string, Class | undefined>();

/** Undefined for a mark that no other mark crosses. */
function classOf(mark: string): Class | undefined {
  if (classOfMark.has(mark)) return classOfMark.get(mark);
  let own: Class | undefined;
  if (isBelow(mark, HIGHEST) || isBelow(LOWEST, mark)) {
    let place = classes.findIndex(({ example }) => !isBelow(example, mark));
    if (place < 0) place = classes.length;
    const found = classes[place];
    if (found && !isBelow(mark, found.example)) own = found;
    else {
      own = { example: mark };
      classes.splice(place, 0, own);
    }
  }
  classOfMark.set(mark, own);
  return own;
}

/** Classes 240, the highest, and 1. */
const [HIGHEST, LOWEST] = ['\u0345', '\u0334'];

/** Whether one mark precedes another in canonical order. */
const isBelow = (one: string, other: string): boolean => (other + one).normalize('NFD') === one + other && one !== other;
