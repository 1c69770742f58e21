/** Rounds float32 numbers to the types of 16 bits: to the nearest value, and to even at a tie. */

/** The halves of finite float32, as bits. `round`: of one number. */
export function halvesOf(values: Float32Array, round: (bits: number) => number): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = round(words[i]!);
  return halves;
}

/** The bits of a finite float32 → those of the bfloat16. Half of the last bit is added; one less if the last bit that stays is even. */
export const toBfloat16 = (bits: number): number => (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;

export function toFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  // The exponent's bias is 112 less.
  if (size >= SMALLEST_NORMAL) return sign | (((size + 0xfff + ((size >>> 13) & 1)) >>> 13) - (112 << 10));
  WORD[0] = size;
  // A sum with 2^52 has no digits after the point.
  return sign | (VALUE[0]! * 2 ** 24 + 2 ** 52 - 2 ** 52);
}

const WORD = new Uint32Array(1);
const VALUE = new Float32Array(WORD.buffer);

/** 2^-14 as the bits of a float32. Smaller float16 are multiples of 2^-24. */
const SMALLEST_NORMAL = 0x38800000;

/** A float16 has no larger numbers: from here on they round to infinity. */
export const TOO_LARGE_FOR_FLOAT16 = 65520;
