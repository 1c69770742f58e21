/**
 * The optimizer's inner loops in WebAssembly, four floats at a time: loops in JavaScript take three times as long.
 * The module is small enough to be assembled here, instruction by instruction.
 *
 * Arrays are in the module's memory, at multiples of 64 bytes, and padded with zeros to whole vectors.
 */

export interface SimdLoops {
  /** Σ x² in double precision, in a fixed order. */
  sumOfSquares(x: number, bytes: number): number;
  /**
   * One AdamW step over `bytes` of weights, gradients and moments. It takes `oneMinus…`, because 1 − β in single
   * precision would lose digits.
   */
  adamW(...[weight, gradient, m, v, bytes, scale, keep, oneMinusBeta1, beta2, oneMinusBeta2, rate, correction, epsilon]: number[]): void;
}

export function simdLoops(memory: WebAssembly.Memory): SimdLoops {
  module ??= new WebAssembly.Module(assemble());
  return new WebAssembly.Instance(module, { host: { memory } }).exports as unknown as SimdLoops;
}

let module: WebAssembly.Module | undefined;

const I32 = 0x7f;
const F32 = 0x7d;
const F64 = 0x7c;
const V128 = 0x7b;

function assemble(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, [
      [0x60, 2, I32, I32, 1, F64],
      [0x60, 13, ...new Array<number>(5).fill(I32), ...new Array<number>(8).fill(F32), 0],
    ]),
    ...section(2, [[...text('host'), ...text('memory'), 2, 0, 1]]),
    ...section(3, [[0], [1]]),
    ...section(7, [
      [...text('sumOfSquares'), 0, 0],
      [...text('adamW'), 0, 1],
    ]),
    ...section(
      10,
      [sumOfSquares(), adamW()].map((body) => [...leb(body.length), ...body]),
    ),
  ]);
}

function sumOfSquares(): number[] {
  const [x, bytes, at, low, high, four] = [0, 1, 2, 3, 4, 5];
  const upperHalf = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
  const addSquare = (sum: number, half: number[]) => [
    ...half,
    ...simd(PROMOTE),
    ...tee(6),
    ...get(6),
    ...simd(F64X2_MUL),
    ...get(sum),
    ...simd(F64X2_ADD),
    ...set(sum),
  ];
  return [
    ...[2, 1, I32, 4, V128], // locals: `at`; the sums, the four floats, their doubles
    ...loop(at, bytes, [
      ...load(x, at),
      ...set(four),
      ...addSquare(low, get(four)),
      ...addSquare(high, [...get(four), ...get(four), ...simd(SHUFFLE), ...upperHalf]),
    ]),
    ...[low, high].flatMap((sum) => [...get(sum), ...simd(EXTRACT), 0, ...get(sum), ...simd(EXTRACT), 1, F64_ADD]),
    ...[F64_ADD, END],
  ];
}

function adamW(): number[] {
  const [weight, gradient, m, v, bytes, scale, keep, oneMinusBeta1, beta2, oneMinusBeta2, rate, correction, epsilon] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
  ];
  const [at, g, mean, square] = [13, 14, 15, 16];
  const spread = (scalar: number) => [...get(scalar), ...simd(SPLAT)];
  return [
    ...[2, 1, I32, 3, V128], // locals: `at`; gradient, new mean, new square
    ...loop(at, bytes!, [
      // g = gradient · scale
      ...[...load(gradient!, at), ...spread(scale!), ...simd(MUL), ...set(g)],
      // m += (g − m)(1 − β₁)
      ...[
        ...load(m!, at),
        ...tee(mean),
        ...get(g),
        ...get(mean),
        ...simd(SUB),
        ...spread(oneMinusBeta1!),
        ...simd(MUL),
        ...simd(ADD),
        ...set(mean),
      ],
      ...store(m!, at, get(mean)),
      // v = v β₂ + g² (1 − β₂)
      ...[
        ...load(v!, at),
        ...spread(beta2!),
        ...simd(MUL),
        ...get(g),
        ...get(g),
        ...simd(MUL),
        ...spread(oneMinusBeta2!),
        ...simd(MUL),
        ...simd(ADD),
        ...set(square),
      ],
      ...store(v!, at, get(square)),
      // weight = weight · keep − rate · m / (√v / correction + ε)
      ...store(weight!, at, [
        ...[...load(weight!, at), ...spread(keep!), ...simd(MUL)],
        ...[
          ...get(mean),
          ...get(square),
          ...simd(SQRT),
          ...spread(correction!),
          ...simd(DIV),
          ...spread(epsilon!),
          ...simd(ADD),
          ...simd(DIV),
        ],
        ...[...spread(rate!), ...simd(MUL), ...simd(SUB)],
      ]),
    ]),
    END,
  ];
}

/** `at` runs from 0 to `bytes` in vectors of 16. */
function loop(at: number, bytes: number, body: number[]): number[] {
  return [
    ...[BLOCK, NOTHING, LOOP, NOTHING],
    ...[...get(at), ...get(bytes), I32_GE_U, BR_IF, 1],
    ...body,
    ...[...get(at), I32_CONST, 16, I32_ADD, ...set(at), BR, 0],
    ...[END, END],
  ];
}

const [BLOCK, LOOP, NOTHING, END, BR, BR_IF] = [0x02, 0x03, 0x40, 0x0b, 0x0c, 0x0d];
const [I32_CONST, I32_GE_U, I32_ADD, F64_ADD] = [0x41, 0x4f, 0x6a, 0xa0];
const [LOAD, STORE, SHUFFLE, SPLAT, EXTRACT, PROMOTE] = [0, 11, 13, 19, 33, 95];
const [SQRT, ADD, SUB, MUL, DIV, F64X2_ADD, F64X2_MUL] = [227, 228, 229, 230, 231, 240, 242];

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const simd = (op: number) => [0xfd, ...leb(op)];
const address = (base: number, at: number) => [...get(base), ...get(at), I32_ADD];
const load = (base: number, at: number) => [...address(base, at), ...simd(LOAD), 4, 0];
const store = (base: number, at: number, value: number[]) => [...address(base, at), ...value, ...simd(STORE), 4, 0];

function section(id: number, entries: number[][]): number[] {
  const content = [...leb(entries.length), ...entries.flat()];
  return [id, ...leb(content.length), ...content];
}

const text = (s: string) => [s.length, ...Buffer.from(s)];

/** LEB128, unsigned. */
function leb(n: number): number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)];
}
