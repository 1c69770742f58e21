/** Distribution functions that intervals and tests need. The tests compare them with SciPy. */

/** P(X ≤ x) of the standard normal distribution (West 2005, "Better approximations to cumulative normal functions"). */
export function normalCdf(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  const z = Math.abs(x);
  const tail = z > 37 ? 0 : z < 7.07106781186547 ? density(z) * ratioOf(z) : density(z) / continued(z) / Math.sqrt(2 * Math.PI);
  return x > 0 ? 1 - tail : tail;
}

const density = (z: number): number => Math.exp((-z * z) / 2);

const ratioOf = (z: number): number => polynomial(NUMERATOR, z) / polynomial(DENOMINATOR, z);

/** Mills' ratio of a distant tail: z + 1 / (z + 2 / (z + 3 / …)). */
function continued(z: number): number {
  let value = z;
  for (let k = 20; k > 0; k--) value = z + k / value;
  return value;
}

/** Coefficients from the highest power on. */
const polynomial = (coefficients: readonly number[], x: number): number => coefficients.reduce((sum, c) => sum * x + c, 0);

const NUMERATOR = [
  3.52624965998911e-2, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931, 220.206867912376,
];
const DENOMINATOR = [
  8.83883476483184e-2, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831, 793.826512519948,
  440.413735824752,
];

/** The inverse of normalCdf (Wichura 1988, AS 241): −∞ for 0, ∞ for 1. */
export function normalQuantile(p: number): number {
  if (!(p > 0 && p < 1)) return p === 0 ? Number.NEGATIVE_INFINITY : p === 1 ? Number.POSITIVE_INFINITY : Number.NaN;
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(CENTRE[0], r)) / polynomial(CENTRE[1], r);
  }
  const r = Math.sqrt(-Math.log(Math.min(p, 1 - p)));
  const [[above, below], shift] = r <= 5 ? [TAIL, 1.6] : [FAR_TAIL, 5];
  return (Math.sign(q) * polynomial(above, r - shift)) / polynomial(below, r - shift);
}

type Fraction = readonly [above: readonly number[], below: readonly number[]];

const CENTRE: Fraction = [
  [
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946, 1971.5909503065513, 133.14166789178438,
    3.3871328727963665,
  ],
  [
    5226.495278852546, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751, 687.1870074920579, 42.31333070160091,
    1,
  ],
];
const TAIL: Fraction = [
  [
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045, 5.769497221460691,
    4.630337846156546, 1.4234371107496835,
  ],
  [
    1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851, 1.6763848301838038,
    2.053191626637759, 1,
  ],
];
const FAR_TAIL: Fraction = [
  [
    2.0103343992922881e-7, 2.7115555687434876e-5, 0.0012426609473880784, 0.026532189526576124, 0.29656057182850487, 1.7848265399172913,
    5.463784911164114, 6.657904643501103,
  ],
  [
    2.0442631033899397e-15, 1.421511758316446e-7, 1.8463183175100548e-5, 0.0007868691311456133, 0.014875361290850615, 0.1369298809227358,
    0.599832206555888, 1,
  ],
];

/** P(X > x) of the chi-squared distribution with `degrees` degrees of freedom: the terms of the incomplete gamma function, all above 0. */
export function chiSquaredTail(x: number, degrees = 1): number {
  if (!(x > 0)) return Number.isNaN(x) ? x : 1;
  const isOdd = degrees % 2 === 1;
  const half = Math.log(x / 2);
  let sum = isOdd ? 2 * normalCdf(-Math.sqrt(x)) : 0;
  let power = isOdd ? 1 / 2 : 0;
  // (x / 2)^power · exp(−x / 2) / Γ(power + 1)
  let term = -x / 2 + (isOdd ? half / 2 - Math.log(Math.sqrt(Math.PI) / 2) : 0);
  for (; power <= degrees / 2 - 1; power++) {
    sum += Math.exp(term);
    term += half - Math.log(power + 1);
  }
  return Math.min(1, sum);
}

/** P(X > x) of Kolmogorov's distribution, the limit of √n times the statistic of the Kolmogorov–Smirnov test. */
export function kolmogorovTail(x: number): number {
  if (!(x > 0)) return Number.isNaN(x) ? x : 1;
  if (x < 1) {
    // The other series converges faster here (Marsaglia, Tsang & Wang 2003).
    const q = Math.exp(-(Math.PI ** 2) / (8 * x * x));
    return 1 - (Math.sqrt(2 * Math.PI) / x) * (q + q ** 9 + q ** 25 + q ** 49);
  }
  let sum = 0;
  for (let k = 1; k <= 20; k++) sum += (k % 2 === 1 ? 2 : -2) * Math.exp(-2 * k * k * x * x);
  return sum;
}

/** P(X ≤ k) for `n` tosses of a fair coin. */
export function fairCoinCdf(k: number, n: number): number {
  let term = -n * Math.LN2;
  let sum = 0;
  for (let i = 0; i <= k; i++) {
    sum += Math.exp(term);
    term += Math.log((n - i) / (i + 1));
  }
  return Math.min(1, sum);
}
