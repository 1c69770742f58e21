/**
 * Names of labels in texts. A name gives its label away if the texts that contain it nearly all have this label, and more of them than
 * all texts. A common word, such as the label "good", is in texts of every label and gives nothing away.
 */

import { wilsonInterval } from '../ml/metrics/proportions.ts';

interface Association {
  label: string;
  /** Rows whose text contains the name, and those of them that have the label. */
  rows: number;
  right: number;
  /** How much more frequent the label is among the rows whose text contains its name than among all rows. */
  lift: number | null;
  /** The share of the uncertainty about the label that the name removes: 0 if the label is as frequent as among all rows, 1 if certain. */
  certainty: number | null;
  gives_away: boolean;
}

/** The certainty from which a name gives its label away, at the lower end of its 95% interval. */
const TELLING = 0.5;

export class LabelNames {
  /** The names as lists of words, by their first word. */
  private readonly byFirst = new Map<string, { label: string; words: string[] }[]>();
  private readonly labels = new Map<string, { all: number; rows: number; right: number }>();
  private total = 0;

  constructor(labels: string[]) {
    for (const label of labels) {
      const words = wordsOf(label);
      this.labels.set(label, { all: 0, rows: 0, right: 0 });
      if (words.length > 0 && /\p{L}/u.test(label)) this.byFirst.set(words[0]!, [...(this.byFirst.get(words[0]!) ?? []), { label, words }]);
    }
  }

  /** The number of labels that have a name. */
  get size(): number {
    return this.byFirst.size;
  }

  /** Counts a text. True if it contains the name of its label. */
  add(text: string, label: string | null): boolean {
    const counts = label === null ? undefined : this.labels.get(label);
    if (!counts) return false;
    this.total++;
    counts.all++;
    const found = this.labelsIn(text);
    for (const name of found) this.labels.get(name)!.rows++;
    const own = found.has(label!);
    if (own) counts.right++;
    return own;
  }

  associations(): Association[] {
    return [...this.labels].map(([label, { all, rows, right }]) => {
      if (rows === 0 || all === 0) return { label, rows, right, lift: null, certainty: null, gives_away: false };
      const prior = all / this.total;
      const certainty = (share: number) => (prior === 1 ? 0 : (share - prior) / (1 - prior));
      return {
        label,
        rows,
        right,
        lift: right / rows / prior,
        certainty: certainty(right / rows),
        gives_away: certainty(wilsonInterval({ hits: right, rows }, 0.95).low) >= TELLING,
      };
    });
  }

  private labelsIn(text: string): Set<string> {
    const found = new Set<string>();
    if (this.size === 0) return found;
    const words = wordsOf(text);
    words.forEach((word, i) => {
      for (const name of this.byFirst.get(word) ?? []) if (name.words.every((part, j) => words[i + j] === part)) found.add(name.label);
    });
    return found;
  }
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
