/**
 * Seeded random numbers, the same on every machine. They are a function of the words that name a stream, e.g.
 * ('init', seed, weight name), so that a new weight changes no other, and a resumed epoch has the same order.
 */
export function random(...words: (string | number)[]): () => number {
  let [a, b, c, d] = seeds(words.join('\0'));
  // sfc32 by Chris Doty-Humphrey: 128 bits of state, passes PractRand.
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4294967296;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}

/** `count` samples from N(0, deviation); samples more than `cutoff` deviations from 0 are drawn again. */
export function truncatedNormal(count: number, deviation: number, cutoff: number, uniform: () => number): Float32Array {
  const out = normal(count, deviation, uniform);
  for (let i = 0; i < count; i++) while (Math.abs(out[i]!) > cutoff * deviation) out[i] = normal(1, deviation, uniform)[0]!;
  return out;
}

/** `count` samples from N(0, deviation). */
export function normal(count: number, deviation: number, uniform: () => number): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    // Box-Muller; 1 - u is never 0.
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

/** Shuffles `items` in place (Fisher-Yates). */
export function shuffle<T extends unknown[] | Int32Array>(items: T, uniform: () => number): T {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/** Hashes a text to four 32-bit numbers: FNV-1a with four offsets, each finished by murmur3's mixer. */
function seeds(text: string): [number, number, number, number] {
  const mixed = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35].map((offset) => {
    let h = offset;
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return h ^ (h >>> 16);
  });
  return mixed as [number, number, number, number];
}
