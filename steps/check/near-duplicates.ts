/**
 * Finds texts that are almost equal, without comparing each with each: texts whose MinHash signatures agree in a band are candidates
 * (locality-sensitive hashing), and the exact Jaccard similarity of their shingles decides. The shingles are in a file, so memory holds
 * about a hundred bytes for each text.
 *
 * Large groups do not take quadratic time: within a band, a text is compared with representatives of each group, and no longer once
 * nothing new can be learned. A text that has failed `MOST_FAILURES` comparisons is compared no more, and is counted.
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import {
  bandKey,
  bandsFor,
  jaccard,
  type Permutations,
  randomPermutations,
  type ShingleOptions,
  shinglesOf,
  signatureOf,
} from './minhash.ts';

export interface NearDuplicateOptions extends ShingleOptions {
  /** The Jaccard similarity from which two texts are near-duplicates. */
  threshold: number;
  permutations: number;
}

/** Where the texts occur. */
export interface Occurrences {
  /** The splits of each text, as bits. */
  splits: Int32Array;
  /** The number of each text's label; `NO_LABEL` or `SEVERAL_LABELS`. */
  labels: Int32Array;
}

export const NO_LABEL = -1;
export const SEVERAL_LABELS = -2;

/** A text that has near-duplicates. */
export interface NearDuplicate {
  text: number;
  /** Texts of the same group have the same number: that of one of them. */
  group: number;
  /** The splits of its near-duplicates, as bits. */
  splits: number;
  /** The label of its near-duplicates; `NO_LABEL` or `SEVERAL_LABELS`. */
  label: number;
  /** A near-duplicate, if possible one in another split, otherwise one with another label. */
  similar: number;
  similarity: number;
}

/** The probability with which a pair at the threshold becomes a candidate. More similar pairs are missed less often. */
const RECALL = 0.99;

/** Failed comparisons of one text with others. */
const MOST_FAILURES = 256;

/** Representatives of texts of the same group, splits and label. */
const MOST_REPRESENTATIVES = 8;

export class NearDuplicateSearch {
  readonly bands: number;
  private readonly rows: number;
  private readonly permutations: Permutations;
  /** For each band, the key of each text. */
  private readonly keys: Int32Array[];
  private readonly sets: SetFile;
  private readonly groups: Groups;
  private readonly failures: Uint16Array;
  private readonly found: Found;

  /** @param file for the shingles; `close` removes it */
  constructor(
    private readonly count: number,
    private readonly options: NearDuplicateOptions,
    private readonly occurrences: Occurrences,
    file: string,
    uniform: () => number,
  ) {
    const { bands, rows } = bandsFor(options.threshold, options.permutations, RECALL);
    this.bands = bands;
    this.rows = rows;
    this.permutations = randomPermutations(bands * rows, uniform);
    this.keys = Array.from({ length: bands }, () => new Int32Array(count));
    this.sets = new SetFile(file, count);
    this.groups = new Groups(count);
    this.failures = new Uint16Array(count);
    this.found = new Found(count, occurrences);
  }

  /** Every text is added once, and none of them is empty. */
  add(index: number, text: string): void {
    const shingles = shinglesOf(text, this.options);
    const signature = signatureOf(shingles, this.permutations);
    for (let band = 0; band < this.bands; band++) this.keys[band]![index] = bandKey(signature, band, this.rows);
    this.sets.write(index, shingles);
  }

  /** Compares the candidates of one band. */
  compareBand(band: number): void {
    for (const bucket of bucketsOf(this.keys[band]!)) this.compareBucket(bucket);
  }

  *results(): Generator<NearDuplicate> {
    for (let text = 0; text < this.count; text++) {
      const found = this.found.of(text);
      if (found) yield { ...found, text, group: this.groups.of(text) };
    }
  }

  /** The number of texts that were not compared with all candidates. */
  get incomplete(): number {
    return this.failures.reduce((sum, failures) => sum + Number(failures >= MOST_FAILURES), 0);
  }

  close(): void {
    this.sets.close();
  }

  private compareBucket(bucket: Uint32Array): void {
    const { threshold } = this.options;
    const representatives: number[] = [];
    const counts = new Map<string, number>();
    for (const text of bucket) {
      const own = this.sets.read(text);
      for (const other of representatives) {
        if (this.failures[text]! >= MOST_FAILURES) break;
        if (this.groups.of(text) === this.groups.of(other) && !this.found.wouldLearn(text, other)) continue;
        const similarity = jaccard(own, this.sets.read(other));
        if (similarity >= threshold) {
          this.groups.join(text, other);
          this.found.add(text, other, similarity);
          this.found.add(other, text, similarity);
        } else this.failures[text]!++;
      }
      const kind = `${this.groups.of(text)} ${this.occurrences.splits[text]} ${this.occurrences.labels[text]}`;
      const same = counts.get(kind) ?? 0;
      counts.set(kind, same + 1);
      if (same < MOST_REPRESENTATIVES) representatives.push(text);
    }
  }
}

/** The texts that share a key with another text. */
function* bucketsOf(keys: Int32Array): Generator<Uint32Array> {
  // Key and index in one number of 53 bits, because sorting plain numbers is much faster than sorting with a comparison.
  const size = 2 ** Math.ceil(Math.log2(Math.max(2, keys.length)));
  const most = 2 ** 53 / size;
  const sorted = Float64Array.from(keys, (key, index) => ((key >>> 0) % most) * size + index).sort();
  for (let start = 0; start < sorted.length; ) {
    const key = Math.floor(sorted[start]! / size);
    let end = start + 1;
    while (end < sorted.length && Math.floor(sorted[end]! / size) === key) end++;
    if (end - start > 1) yield Uint32Array.from(sorted.subarray(start, end), (packed) => packed % size);
    start = end;
  }
}

/** Disjoint sets of texts. The number of a set is its smallest text. */
class Groups {
  private readonly parents: Uint32Array;

  constructor(count: number) {
    this.parents = Uint32Array.from({ length: count }, (_, i) => i);
  }

  of(text: number): number {
    const { parents } = this;
    while (parents[text] !== text) {
      parents[text] = parents[parents[text]!]!;
      text = parents[text]!;
    }
    return text;
  }

  join(one: number, other: number): void {
    const [a, b] = [this.of(one), this.of(other)];
    this.parents[Math.max(a, b)] = Math.min(a, b);
  }
}

/** What is known about the near-duplicates of each text. */
class Found {
  private readonly splits: Int32Array;
  private readonly labels: Int32Array;
  private readonly similar: Int32Array;
  private readonly similarities: Float64Array;

  constructor(
    count: number,
    private readonly occurrences: Occurrences,
  ) {
    this.splits = new Int32Array(count);
    this.labels = new Int32Array(count).fill(NO_LABEL);
    this.similar = new Int32Array(count).fill(-1);
    this.similarities = new Float64Array(count);
  }

  /** Whether either of them would get to know a split or a label. */
  wouldLearn(one: number, other: number): boolean {
    return this.learns(one, other) || this.learns(other, one);
  }

  add(text: number, other: number, similarity: number): void {
    if (this.similar[text]! < 0 || this.rank(text, other) > this.rank(text, this.similar[text]!)) {
      this.similar[text] = other;
      this.similarities[text] = similarity;
    }
    this.splits[text]! |= this.occurrences.splits[other]!;
    this.labels[text] = mergedLabel(this.labels[text]!, this.occurrences.labels[other]!);
  }

  of(text: number): Omit<NearDuplicate, 'text' | 'group'> | undefined {
    if (this.similar[text]! < 0) return undefined;
    return {
      splits: this.splits[text]!,
      label: this.labels[text]!,
      similar: this.similar[text]!,
      similarity: this.similarities[text]!,
    };
  }

  private learns(text: number, other: number): boolean {
    const { splits, labels } = this.occurrences;
    return (splits[other]! & ~this.splits[text]!) !== 0 || mergedLabel(this.labels[text]!, labels[other]!) !== this.labels[text];
  }

  /** How much a near-duplicate says about a text: in another split, with another label, or neither. */
  private rank(text: number, other: number): number {
    const { splits, labels } = this.occurrences;
    if ((splits[other]! & ~splits[text]!) !== 0) return 2;
    return labels[other] !== labels[text] ? 1 : 0;
  }
}

function mergedLabel(one: number, other: number): number {
  if (one === NO_LABEL || one === other) return other;
  return other === NO_LABEL ? one : SEVERAL_LABELS;
}

/** Sets of numbers in a file, with those read last in memory. */
class SetFile {
  private readonly handle: number;
  /** Where each set begins, in numbers. */
  private readonly starts: Float64Array;
  private readonly sizes: Uint32Array;
  private size = 0;
  private pending: Uint32Array[] = [];
  private pendingSize = 0;
  private cached = new Map<number, Uint32Array>();
  private cachedSize = 0;

  constructor(
    private readonly path: string,
    count: number,
  ) {
    this.handle = openSync(path, 'w+');
    this.starts = new Float64Array(count);
    this.sizes = new Uint32Array(count);
  }

  write(index: number, set: Uint32Array): void {
    this.starts[index] = this.size;
    this.sizes[index] = set.length;
    this.size += set.length;
    this.pending.push(set);
    this.pendingSize += set.length;
    if (this.pendingSize > WRITTEN_AT_ONCE) this.flush();
  }

  read(index: number): Uint32Array {
    if (this.pendingSize > 0) this.flush();
    const known = this.cached.get(index);
    if (known) return known;
    const set = new Uint32Array(this.sizes[index]!);
    const bytes = new Uint8Array(set.buffer);
    for (let done = 0; done < bytes.length; )
      done += readSync(this.handle, bytes, done, bytes.length - done, this.starts[index]! * set.BYTES_PER_ELEMENT + done);
    if (this.cachedSize > CACHED) {
      this.cached = new Map();
      this.cachedSize = 0;
    }
    this.cached.set(index, set);
    this.cachedSize += set.length;
    return set;
  }

  close(): void {
    closeSync(this.handle);
    rmSync(this.path, { force: true });
  }

  private flush(): void {
    for (const set of this.pending) {
      const bytes = new Uint8Array(set.buffer, set.byteOffset, set.byteLength);
      for (let done = 0; done < bytes.length; ) done += writeSync(this.handle, bytes, done);
    }
    this.pending = [];
    this.pendingSize = 0;
  }
}

/** In numbers of four bytes. */
const WRITTEN_AT_ONCE = 1 << 20;
const CACHED = 1 << 24;
