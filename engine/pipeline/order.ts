/** Sorts topologically, as close to the given order as possible, and finds cycles. */

export interface Order<T> {
  sorted: T[];
  /** Each cycle without its repeated start: [a, b] means a → b → a. */
  cycles: T[][];
}

/** `before(node)`: the nodes that must come earlier. Not recursive, because chains may be long. */
export function order<T>(nodes: Iterable<T>, before: (node: T) => Iterable<T>): Order<T> {
  const sorted: T[] = [];
  const cycles: T[][] = [];
  const done = new Set<T>();
  const open = new Map<T, Iterator<T>>();
  for (const root of nodes) {
    const path: T[] = [];
    const enter = (node: T) => {
      open.set(node, before(node)[Symbol.iterator]());
      path.push(node);
    };
    if (!done.has(root)) enter(root);
    while (path.length > 0) {
      const node = path.at(-1)!;
      const next = open.get(node)!.next();
      if (next.done) {
        path.pop();
        open.delete(node);
        done.add(node);
        sorted.push(node);
      } else if (open.has(next.value)) {
        cycles.push(path.slice(path.indexOf(next.value)));
      } else if (!done.has(next.value)) {
        enter(next.value);
      }
    }
  }
  return { sorted, cycles };
}
