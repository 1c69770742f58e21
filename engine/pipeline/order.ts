/** Sorts topologically, as close to the given order as possible, and finds cycles. */

export interface Order<T> {
  sorted: T[];
  /** Each cycle without its repeated start: [a, b] means a → b → a. */
  cycles: T[][];
}

/** `before(node)`: the nodes that must come earlier. Not recursive, because chains may be long. */
export function order<T>(nodes: Iterable<T>, before: (node: T) => readonly T[]): Order<T> {
  const sorted: T[] = [];
  const cycles: T[][] = [];
  const done = new Set<T>();
  /** The path from the root to the current node: each node with its predecessors and the number of visited ones. */
  const path: { node: T; earlier: readonly T[]; seen: number }[] = [];
  const open = new Set<T>();
  const enter = (node: T) => {
    const earlier = before(node);
    if (earlier.length === 0) return finish(node);
    path.push({ node, earlier, seen: 0 });
    open.add(node);
  };
  const finish = (node: T) => {
    done.add(node);
    sorted.push(node);
  };
  for (const root of nodes) {
    if (!done.has(root)) enter(root);
    while (path.length > 0) {
      const here = path.at(-1)!;
      if (here.seen === here.earlier.length) {
        path.pop();
        open.delete(here.node);
        finish(here.node);
        continue;
      }
      const next = here.earlier[here.seen++]!;
      if (open.has(next)) cycles.push(path.slice(path.findIndex(({ node }) => node === next)).map(({ node }) => node));
      else if (!done.has(next)) enter(next);
    }
  }
  return { sorted, cycles };
}
