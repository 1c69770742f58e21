/** Phrases of one to three words, and in how many texts of each label they occur. A run of punctuation counts as a word. */

const LONGEST = 3;

/** Candidates must be in this share of the required texts of a sample. */
const SLACK = 0.8;
const LEAST = 3;

interface Node {
  /** The phrase that ends here. */
  phrase?: number;
  next?: Map<string, Node>;
}

/** For one phrase, by part: its texts, and those of each label for which it is a candidate. */
interface Counts {
  text: string;
  rows: [number, number];
  right: Map<number, [number, number]>;
  /** The last text in which it was counted. */
  last: number;
}

interface LabelCounts {
  rows: number;
  right: number;
  /** All texts with the label. */
  all: number;
}

export class Phrases {
  private readonly root = new Map<string, Node>();
  private readonly phrases: Counts[] = [];
  private readonly totals: [Float64Array, Float64Array];
  private texts = 0;

  constructor(labels: number) {
    this.totals = [new Float64Array(labels), new Float64Array(labels)];
  }

  /** Adds the phrases that are in at least about the share `coverage` of these texts of a label. */
  addFrequent(texts: string[][], label: number, coverage: number): void {
    const least = Math.max(LEAST, SLACK * coverage * texts.length);
    // A phrase is no more frequent than its words.
    let frequent: Set<string> | undefined;
    for (let length = 1; length <= LONGEST; length++) {
      const counts = new Map<string, number>();
      for (const tokens of texts) {
        const own = new Set<string>();
        for (let i = 0; i + length <= tokens.length; i++) {
          const words = tokens.slice(i, i + length);
          if (!frequent || words.every((word) => frequent!.has(word))) own.add(words.join(' '));
        }
        for (const phrase of own) counts.set(phrase, (counts.get(phrase) ?? 0) + 1);
      }
      const found = [...counts].filter(([, n]) => n >= least).map(([phrase]) => phrase);
      frequent ??= new Set(found);
      for (const phrase of found) this.add(phrase.split(' '), label);
    }
  }

  add(words: string[], label: number): void {
    let nodes = this.root;
    let node: Node = {};
    for (const word of words) {
      node = nodes.get(word) ?? {};
      nodes.set(word, node);
      node.next ??= new Map();
      nodes = node.next;
    }
    node.phrase ??= this.phrases.push({ text: words.join(' '), rows: [0, 0], right: new Map(), last: -1 }) - 1;
    this.phrases[node.phrase]!.right.set(label, [0, 0]);
  }

  /** `part`: 0 for train, 1 for the texts that confirm. A phrase counts once. */
  count(tokens: string[], label: number, part: number): void {
    const text = this.texts++;
    this.totals[part]![label]!++;
    for (const phrase of this.phrasesIn(tokens)) {
      if (phrase.last === text) continue;
      phrase.last = text;
      phrase.rows[part]!++;
      const right = phrase.right.get(label);
      if (right) right[part]!++;
    }
  }

  /** The candidates of a label. */
  of(label: number): { text: string; parts: [LabelCounts, LabelCounts] }[] {
    return this.phrases.flatMap(({ text, rows, right }) => {
      const own = right.get(label);
      if (!own) return [];
      const part = (k: 0 | 1) => ({ rows: rows[k], right: own[k], all: this.totals[k][label]! });
      return [{ text, parts: [part(0), part(1)] }];
    });
  }

  /** The share of a label in train. */
  prior(label: number): number {
    const [train] = this.totals;
    return train[label]! / train.reduce((sum, n) => sum + n, 0);
  }

  /** The first candidate of a label in a text. */
  firstIn(tokens: string[], label: number): string | undefined {
    for (const { text, right } of this.phrasesIn(tokens)) if (right.has(label)) return text;
    return undefined;
  }

  private *phrasesIn(tokens: string[]): Generator<Counts> {
    for (let i = 0; i < tokens.length; i++) {
      let nodes: Map<string, Node> | undefined = this.root;
      for (let j = i; nodes && j < tokens.length; j++) {
        const node: Node | undefined = nodes.get(tokens[j]!);
        if (node?.phrase !== undefined) yield this.phrases[node.phrase]!;
        nodes = node?.next;
      }
    }
  }
}

/** Words, and runs of other characters, in lower case. */
export const tokensIn = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{M}\p{N}_]+|[^\s\p{L}\p{M}\p{N}_]+/gu) ?? [];
