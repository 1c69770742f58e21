/**
 * Makes one graph for inputs of any length. A program is traced twice, with different sizes of the free axes: a number that
 * differs between the two graphs depends on free axes, and the difference shows on which.
 */

import { filling, type Graph, type Node, type Value } from './graph.ts';
import type { Axes, HostTensors } from './runtime.ts';
import type { Specs } from './trace.ts';

/** The twin of a graph, and the axes that are free in both. */
export interface Free {
  twin: Graph;
  axes: FreeAxis[];
  inputs: Axes;
}

/** Traces a program for these inputs: once for all sizes of their free axes, if they have some. */
export function traceFor<T extends { graph: Graph }>(
  inputs: HostTensors,
  axes: Axes,
  trace: (inputs: Specs, free: boolean) => T,
): { traced: T; free: Free | undefined } {
  if (!Object.keys(inputs).some((name) => axes[name]?.some((axis) => typeof axis === 'string')))
    return { traced: trace(inputs, false), free: undefined };
  const twins = traceTwins(inputs, axes, (sized) => trace(sized, true));
  return { traced: twins.traced, free: { twin: twins.twin.graph, axes: twins.axes, inputs: axes } };
}

/** The shapes of a graph's values for these inputs. `twins` are the same values of the twin. */
export function shapesAt(
  values: ReadonlyMap<string, Value>,
  twins: ReadonlyMap<string, Value> | undefined,
  free: Free | undefined,
  given: HostTensors,
): Map<string, number[]> {
  if (!free) return new Map([...values].map(([name, { shape }]) => [name, shape]));
  const lengths = free.axes.map(({ name }) => lengthOf(name, free.inputs, given));
  return new Map([...values].map(([name, value]) => [name, shapeAt(value, twins!.get(name)!, free.axes, lengths)]));
}

/** The length of a free axis in these inputs. */
function lengthOf(axis: string, axes: Axes, given: HostTensors): number {
  for (const [input, names] of Object.entries(axes)) {
    const at = names.indexOf(axis);
    if (at >= 0 && given[input]) return given[input].shape[at]!;
  }
  throw new Error(`No input has the axis ${axis}.`);
}

/** A key that is equal for inputs that one graph can take: names, types and shapes, with free axes by their names. */
export function shapeOfInputs(inputs: HostTensors, axes: Axes): string {
  return Object.entries(inputs)
    .map(
      ([name, { dtype, shape }]) => `${name}:${dtype}[${shape.map((n, i) => (typeof axes[name]?.[i] === 'string' ? axes[name][i] : n))}]`,
    )
    .sort()
    .join(' ');
}

/** A free axis, with its size in the graph and in its twin. */
export interface FreeAxis {
  /** If the length is the sum or the difference of two other axes: `past + sequence`. */
  name: string;
  size: number;
  twinSize: number;
}

/** The two axes whose sum or difference an axis is, and the sign. */
export function partsOf(axis: string): { first: string; sign: string; second: string } | undefined {
  const [, first, sign, second] = /^(\w+) ([+-]) (\w+)$/.exec(axis) ?? [];
  return first && sign && second ? { first, sign, second } : undefined;
}

/**
 * Traces with chosen sizes of the free axes. `derived`: sums and differences of axes with which the program computes, beside those
 * that are axes of inputs. @throws Error if the program computes with sizes in another way than by products
 */
export function traceTwins<T extends { graph: Graph }>(
  inputs: Specs,
  axes: Axes,
  trace: (inputs: Specs) => T,
  derived: readonly string[] = [],
) {
  const given = Object.keys(inputs).flatMap((input) => axes[input] ?? []);
  const names = [...new Set([...given, ...derived])].filter((axis) => typeof axis === 'string');
  const plain = names.filter((name) => !partsOf(name));
  const sizeOf = (name: string, probes: number[]): number => {
    const parts = partsOf(name);
    if (!parts) return probes[plain.indexOf(name)]!;
    const [first, second] = [sizeOf(parts.first, probes), sizeOf(parts.second, probes)];
    return parts.sign === '+' ? first + second : first - second;
  };
  const sized = (probes: number[]): Specs =>
    Object.fromEntries(
      Object.entries(inputs).map(([input, { dtype, shape }]) => {
        const own = (axes[input] ?? shape).map((axis) => (typeof axis === 'string' ? sizeOf(axis, probes) : axis));
        return [input, { dtype, shape: own }];
      }),
    );
  for (const [probes, twinProbes] of PROBES) {
    const free = names.map((name) => ({ name, size: sizeOf(name, probes), twinSize: sizeOf(name, twinProbes) }));
    if (free.some(({ size, twinSize }) => size === twinSize || size < 2 || twinSize < 2)) continue;
    const [traced, twin] = [trace(sized(probes)), trace(sized(twinProbes))];
    // Otherwise a size of the program happens to equal a probe.
    if (areTwins(traced.graph, twin.graph)) return { traced, twin, axes: free };
  }
  throw new Error(
    `The program computes with the sizes of its inputs (${names.join(', ')}) in a way that a graph with free axes cannot express.`,
  );
}

/** Sizes of the free axes in the two traces. They are small, because a model may have few positions. */
const PROBES: [number[], number[]][] = [
  [
    [17, 11, 7, 23, 3],
    [19, 13, 5, 29, 2],
  ],
  [
    [23, 7, 13, 19, 3],
    [29, 5, 11, 31, 2],
  ],
  [
    [31, 3, 13, 23, 5],
    [37, 2, 11, 29, 7],
  ],
];

/** `factor` times powers of the axes. */
interface Product {
  factor: number;
  powers: number[];
}

/** The products that were found, by the two sizes: a session asks for the same ones at every run. */
const found = new WeakMap<readonly FreeAxis[], Map<string, Product>>();

/** The product that is `size` in the graph and `twinSize` in its twin. @throws Error if no product of the axes gives both */
export function productOf(size: number, twinSize: number, axes: readonly FreeAxis[]): Product {
  const products = found.get(axes) ?? new Map<string, Product>();
  found.set(axes, products);
  const sizes = `${size} ${twinSize}`;
  const product = products.get(sizes) ?? findProduct(size, twinSize, axes);
  products.set(sizes, product);
  return product;
}

function findProduct(size: number, twinSize: number, axes: readonly FreeAxis[]): Product {
  for (const powers of combinations(axes.length)) {
    const here = axes.reduce((n, axis, i) => n * axis.size ** powers[i]!, 1);
    const there = axes.reduce((n, axis, i) => n * axis.twinSize ** powers[i]!, 1);
    if (size * there === twinSize * here && size % here === 0) return { factor: size / here, powers };
  }
  const where = axes.map((axis) => `${axis.name} is ${axis.size}`).join(' and ');
  throw new Error(`The program computes with the sizes of its inputs: ${size}, where ${where}, is not a product of them.`);
}

/** The shape of `value` for these lengths of the axes, in their order. */
function shapeAt(value: Value, twin: Value, axes: readonly FreeAxis[], lengths: readonly number[]): number[] {
  return value.shape.map((size, i) => {
    const twinSize = twin.shape[i]!;
    if (size === twinSize) return size;
    const { factor, powers } = productOf(size, twinSize, axes);
    return lengths.reduce((n, length, axis) => n * length ** powers[axis]!, factor);
  });
}

/** Powers of the axes to try: 0, 1 or 2 each, small ones first. */
function combinations(count: number): number[][] {
  if (count === 0) return [[]];
  return combinations(count - 1)
    .flatMap((powers) => [0, 1, 2].map((power) => [...powers, power]))
    .sort((a, b) => sum(a) - sum(b));
}

const sum = (numbers: number[]): number => numbers.reduce((total, n) => total + n, 0);

/** Whether two graphs are the same except for sizes. */
function areTwins(graph: Graph, twin: Graph): boolean {
  const partner = new Map<Value, Value>();
  const match = (a: Value | undefined, b: Value | undefined): boolean => {
    if (!a || !b || a.dtype !== b.dtype || a.shape.length !== b.shape.length) return false;
    const known = partner.get(a);
    if (known) return known === b;
    partner.set(a, b);
    if (typeof a.from !== 'object' || !('data' in a.from)) return true;
    if (filling(a) !== undefined) return filling(a) === filling(b);
    return String(a.from.data) === String((b.from as typeof a.from).data);
  };
  const sameNode = (a: Node, b: Node | undefined) =>
    b?.kernel === a.kernel &&
    a.inputs.length === b.inputs.length &&
    a.outputs.length === b.outputs.length &&
    a.inputs.every((input, i) => match(input, b.inputs[i])) &&
    a.outputs.every((output, i) => match(output, b.outputs[i])) &&
    Object.keys(a.attributes).every((key) => SIZES.has(key) || JSON.stringify(a.attributes[key]) === JSON.stringify(b.attributes[key]));
  return (
    graph.nodes.length === twin.nodes.length &&
    [...graph.inputs].every(([name, value]) => match(value, twin.inputs.get(name))) &&
    graph.nodes.every((node, i) => sameNode(node, twin.nodes[i])) &&
    [...graph.outputs].every(([name, value]) => match(value, twin.outputs.get(name)))
  );
}

/** Attributes that an emitter computes from the free axes. */
const SIZES = new Set(['shape', 'reps', 'begin', 'size', 'sizes', 'end', 'paddings', 'stop', 'depth', 'numSegments']);
