/**
 * MinHash signatures of texts. A text is the set of its n-grams (shingles). The signature has, for each of many hash functions, the
 * smallest hash of the set. Two signatures agree in a share of places that estimates the Jaccard similarity of the two sets.
 * The values equal those of the Python package datasketch 2 (`scheme="affine32"`, with MurmurHash3 as its hash function).
 */

export interface ShingleOptions {
  /** Number of characters or words in a shingle. */
  ngram: number;
  unit: 'characters' | 'words';
}

/** The hashes of the shingles of a text, sorted and distinct. Case and the amount of white space do not count. Empty for an empty text. */
export function shinglesOf(text: string, { ngram, unit }: ShingleOptions): Uint32Array {
  const normal = text.normalize('NFC').toLowerCase().replace(/\s+/gu, ' ').trim();
  if (normal === '') return new Uint32Array(0);
  const bytes = Buffer.from(normal);
  const starts = unit === 'words' ? wordStarts(bytes) : characterStarts(bytes);
  // A text with fewer units than a shingle is one shingle.
  const count = Math.max(1, starts.length - ngram + 1);
  const hashes = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    const next = starts[i + ngram];
    // A shingle of words ends before the space that follows it.
    const end = next === undefined ? bytes.length : unit === 'words' ? next - 1 : next;
    hashes[i] = murmurHash(bytes, starts[i]!, end);
  }
  return distinct(hashes.sort());
}

function characterStarts(bytes: Buffer): number[] {
  const starts: number[] = [];
  // Every byte but the continuation bytes of UTF-8 begins a character.
  for (let i = 0; i < bytes.length; i++) if ((bytes[i]! & 0xc0) !== 0x80) starts.push(i);
  return starts;
}

function wordStarts(bytes: Buffer): number[] {
  const starts = [0];
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === 0x20) starts.push(i + 1);
  return starts;
}

function distinct(sorted: Uint32Array): Uint32Array {
  let kept = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[kept++] = sorted[i]!;
  return sorted.subarray(0, kept);
}

/** MurmurHash3 (x86, 32 bits, seed 0) by Austin Appleby, of the bytes from `start` to `end`. */
export function murmurHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    hash ^= scrambled(bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let j = end - 1; j >= i; j--) rest = (rest << 8) | bytes[j]!;
  if (i < end) hash ^= scrambled(rest);
  return mixed(hash ^ (end - start)) >>> 0;
}

function scrambled(block: number): number {
  const k = Math.imul(block, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}

/** The finalizer of MurmurHash3: a bijection in which every input bit changes every output bit. */
export function mixed(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** The hash functions x → a·x + b modulo 2³², with odd `a`. */
export interface Permutations {
  a: Int32Array;
  b: Int32Array;
}

/** `uniform`: random numbers from 0 to 1. */
export function randomPermutations(count: number, uniform: () => number): Permutations {
  const bits = () => Math.floor(uniform() * 2 ** 32) | 0;
  return { a: Int32Array.from({ length: count }, () => bits() | 1), b: Int32Array.from({ length: count }, bits) };
}

/** The smallest value of each hash function over the shingles, as unsigned numbers in a signed array. */
export function signatureOf(shingles: Uint32Array, { a, b }: Permutations): Int32Array {
  const inputs = new Int32Array(shingles.length);
  for (let i = 0; i < shingles.length; i++) inputs[i] = mixed(shingles[i]!);
  const signature = new Int32Array(a.length);
  for (let k = 0; k < a.length; k++) {
    const factor = a[k]!;
    // With the highest bit inverted, the order of signed numbers is that of unsigned ones.
    const offset = b[k]! ^ HIGHEST_BIT;
    let least = 0x7fffffff;
    for (let i = 0; i < inputs.length; i++) {
      const value = (Math.imul(factor, inputs[i]!) + offset) | 0;
      if (value < least) least = value;
    }
    signature[k] = least ^ HIGHEST_BIT;
  }
  return signature;
}

const HIGHEST_BIT = 0x80000000 | 0;

/** The size of the intersection divided by the size of the union. Both sets are sorted. */
export function jaccard(one: Uint32Array, other: Uint32Array): number {
  let both = 0;
  for (let i = 0, j = 0; i < one.length && j < other.length; ) {
    const x = one[i]!;
    const y = other[j]!;
    if (x === y) both++;
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return both / (one.length + other.length - both);
}

/**
 * How a signature is divided into bands of `rows` places: two texts are compared if they agree in a whole band. It takes the largest
 * `rows` with which a pair whose similarity is `threshold` is found with a probability of at least `recall`.
 */
export function bandsFor(threshold: number, permutations: number, recall: number): { bands: number; rows: number } {
  for (let rows = permutations; rows > 1; rows--) {
    const bands = Math.floor(permutations / rows);
    if (1 - (1 - threshold ** rows) ** bands >= recall) return { bands, rows };
  }
  return { bands: permutations, rows: 1 };
}

/** One number for the places of a band, as a signed integer. */
export function bandKey(signature: Int32Array, band: number, rows: number): number {
  let key = band;
  for (let i = band * rows; i < (band + 1) * rows; i++) key = mixed(Math.imul(key, 0x9e3779b1) + signature[i]!);
  return key;
}
