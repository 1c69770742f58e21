/** A cache for one run: the code of a step, the version of a package. `run --watch` clears it before the next run. */
const all: Map<unknown, unknown>[] = [];

export function oncePerRun<V>(): Map<string, V> {
  const answers = new Map<string, V>();
  all.push(answers);
  return answers;
}

export function forget(): void {
  for (const answers of all) answers.clear();
}
