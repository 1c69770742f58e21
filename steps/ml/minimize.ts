/** L-BFGS (Nocedal & Wright, algorithm 7.5) with a backtracking line search. */

/** Returns the value, and writes the gradient. */
type Objective = (x: Float64Array, gradient: Float64Array) => number;

interface MinimizeOptions {
  /** The search ends if no entry of the gradient exceeds it. */
  tolerance: number;
  /** An estimate of the second derivative by each variable, all above 0. It decides how fast the search is, and not where it ends. */
  curvature: Float64Array;
}

interface Step {
  s: Float64Array;
  y: Float64Array;
  rho: number;
}

const MEMORY = 5;
const MOST_ITERATIONS = 1000;

/** The memory that a search needs, in bytes. */
export const bytesToMinimize = (variables: number): number => 8 * variables * (7 + 2 * MEMORY);

/** The minimum of a convex function. `start` is not changed. */
export function minimize(objective: Objective, start: Float64Array, { tolerance, curvature }: MinimizeOptions): Float64Array {
  const size = start.length;
  const steps: Step[] = [];
  const direction = new Float64Array(size);
  let [x, gradient] = [Float64Array.from(start), new Float64Array(size)];
  let [next, nextGradient] = [new Float64Array(size), new Float64Array(size)];
  let value = objective(x, gradient);
  for (let iteration = 0; iteration < MOST_ITERATIONS && largest(gradient) > tolerance; iteration++) {
    descent(direction, gradient, steps, curvature);
    const slope = dot(direction, gradient);
    let nextValue = value;
    for (let rate = 1; rate > 1e-12; rate /= 2) {
      for (let i = 0; i < size; i++) next[i] = x[i]! + rate * direction[i]!;
      nextValue = objective(next, nextGradient);
      if (nextValue <= value + 1e-4 * rate * slope) break;
    }
    // The objective no longer falls in float64, so this is the minimum.
    if (!(nextValue < value)) break;
    const { s, y } = steps.length < MEMORY ? { s: new Float64Array(size), y: new Float64Array(size) } : steps.shift()!;
    for (let i = 0; i < size; i++) {
      s[i] = next[i]! - x[i]!;
      y[i] = nextGradient[i]! - gradient[i]!;
    }
    const product = dot(s, y);
    if (product > 0) steps.push({ s, y, rho: 1 / product });
    [x, next] = [next, x];
    [gradient, nextGradient] = [nextGradient, gradient];
    value = nextValue;
  }
  return x;
}

/** The negative gradient, multiplied by the inverse curvature that the last steps have shown (two-loop recursion). */
function descent(into: Float64Array, gradient: Float64Array, steps: Step[], curvature: Float64Array): void {
  for (let i = 0; i < into.length; i++) into[i] = -gradient[i]!;
  const shares: number[] = [];
  for (const { s, y, rho } of steps.toReversed()) {
    const share = rho * dot(s, into);
    shares.push(share);
    add(into, y, -share);
  }
  const last = steps.at(-1);
  let scale = 1;
  if (last) {
    let sum = 0;
    for (let i = 0; i < into.length; i++) sum += (last.y[i]! * last.y[i]!) / curvature[i]!;
    scale = 1 / (last.rho * sum);
  }
  for (let i = 0; i < into.length; i++) into[i]! *= scale / curvature[i]!;
  for (const { s, y, rho } of steps) add(into, s, shares.pop()! - rho * dot(y, into));
}

function largest(values: Float64Array): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(to: Float64Array, what: Float64Array, times: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += times * what[i]!;
}
