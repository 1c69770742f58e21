/**
 * Dropout masks without random numbers per step: a tape of pre-scaled masks (0 or 1/(1-rate)) is written once, and
 * every mask is a view of it at a hashed offset. So a mask is a pure function of (seed, epoch, step, index of the
 * dropout in the step), a resumed run equals an uninterrupted one bit for bit, and all runtimes drop the same
 * elements.
 */

export interface StepPosition {
  seed: number;
  epoch: number;
  step: number;
  /** The part of the step's batch; the first by default. */
  part?: number;
}

export class DropoutTapes {
  readonly #tapes = new Map<string, Float32Array>();

  /** The mask of the `ordinal`-th dropout of a step: a view of `size` floats that must not be written. */
  mask(rate: number, size: number, at: StepPosition, ordinal: number): Float32Array {
    const start = ALIGNMENT * (hash(at.seed, at.epoch, at.step, (at.part ?? 0) * MOST_DROPOUTS + ordinal) % (OFFSETS / ALIGNMENT));
    return this.#tape(rate, at.seed, OFFSETS + size).subarray(start, start + size);
  }

  #tape(rate: number, seed: number, length: number): Float32Array {
    const key = `${rate} ${seed}`;
    const known = this.#tapes.get(key) ?? new Float32Array(0);
    if (known.length >= length) return known;
    const blocks = Math.ceil(length / BLOCK);
    const tape = new Float32Array(blocks * BLOCK);
    tape.set(known);
    for (let block = known.length / BLOCK; block < blocks; block++) {
      fill(tape.subarray(block * BLOCK, (block + 1) * BLOCK), rate, hash(seed, 0x7a9e, block, 0));
    }
    this.#tapes.set(key, tape);
    return tape;
  }
}

/** The number of positions where masks can start, whatever their size, so that a tape that grows later gives the same masks. */
const OFFSETS = 1 << 22;
/** Within one part of a step. */
const MOST_DROPOUTS = 2 ** 20;
/** In floats: 64 bytes. */
const ALIGNMENT = 16;
/** The tape grows by blocks, each from its own random state. */
const BLOCK = 1 << 20;

/** xoshiro128**, seeded through the hash. */
function fill(block: Float32Array, rate: number, seed: number): void {
  const kept = Math.fround(1 / (1 - rate));
  const threshold = rate * 2 ** 32;
  let a = hash(seed, 1, 0, 0) | 1;
  let b = hash(seed, 2, 0, 0);
  let c = hash(seed, 3, 0, 0);
  let d = hash(seed, 4, 0, 0);
  for (let i = 0; i < block.length; i++) {
    const scrambled = Math.imul(b, 5);
    const random = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    block[i] = random < threshold ? 0 : kept;
  }
}

/** Hashes four integers to 32 bits (murmur3's mixing and finalizer). */
function hash(...values: [number, number, number, number]): number {
  let h = 0x2f0b4c47;
  for (const value of values) {
    // Both halves, so that seeds of more than 32 bits count fully.
    for (const half of [value >>> 0, Math.floor(value / 2 ** 32) >>> 0]) {
      let k = Math.imul(half, 0xcc9e2d51);
      k = (k << 15) | (k >>> 17);
      h ^= Math.imul(k, 0x1b873593);
      h = (h << 13) | (h >>> 19);
      h = (Math.imul(h, 5) + 0xe6546b64) | 0;
    }
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
