/** Collects every mistake of a pipeline, so that all are told at once. */
import { type Diagnostic, InvalidError } from '../diagnostic.ts';

export class Problems {
  readonly #found = new Map<string, Diagnostic>();

  readonly #closed = new Set<string>();

  /** The same mistake at the same place counts once, however many cells have it. */
  add(diagnostic: Diagnostic): void {
    const { file, line, column, message } = diagnostic;
    if (this.#closed.has(JSON.stringify([file, line, column]))) return;
    this.#found.set(JSON.stringify([file, line, column, message]), diagnostic);
  }

  /** A value that could not be read: whatever else is wrong with it only follows from that. `value`: where it stands, if behind a tag. */
  addLast(diagnostic: Diagnostic, value = diagnostic): void {
    this.add(diagnostic);
    for (const { file, line, column } of [diagnostic, value]) this.#closed.add(JSON.stringify([file, line, column]));
  }

  get isEmpty(): boolean {
    return this.#found.size === 0;
  }

  /** In the order of the file; of several files, the one with the first mistake found comes first; flags come last. */
  throwIfAny(): void {
    if (this.#found.size === 0) return;
    const all = [...this.#found.values()];
    const files = [...new Set(all.filter(({ line }) => line > 0).map(({ file }) => file))];
    const rank = ({ file, line }: Diagnostic) => (line > 0 ? files.indexOf(file) : files.length);
    throw new InvalidError(all.sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column));
  }
}
