/** Collects all errors of a pipeline, so that they are reported together. */
import { type Diagnostic, InvalidError } from '../errors.ts';

export class Problems {
  readonly #found = new Map<string, Diagnostic>();

  readonly #closed = new Set<string>();

  /** Adds an error. The same error at the same position counts once, for any number of cells. */
  add(diagnostic: Diagnostic): void {
    const { file, line, column, message } = diagnostic;
    if (this.#closed.has(JSON.stringify([file, line, column]))) return;
    this.#found.set(JSON.stringify([file, line, column, message]), diagnostic);
  }

  /** Adds an error for a value that cannot be read, which hides consequential errors. `value`: its position if it follows a tag. */
  addLast(diagnostic: Diagnostic, value = diagnostic): void {
    this.add(diagnostic);
    for (const { file, line, column } of [diagnostic, value]) this.#closed.add(JSON.stringify([file, line, column]));
  }

  get isEmpty(): boolean {
    return this.#found.size === 0;
  }

  /** In the order of the file. The file whose error was found first comes first; flags come last. */
  throwIfAny(): void {
    if (this.#found.size === 0) return;
    const all = [...this.#found.values()];
    const files = [...new Set(all.filter(({ line }) => line > 0).map(({ file }) => file))];
    const rank = ({ file, line }: Diagnostic) => (line > 0 ? files.indexOf(file) : files.length);
    throw new InvalidError(all.sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column));
  }
}
