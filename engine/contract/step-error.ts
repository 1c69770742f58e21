/**
 * Import it from step.ts: in the package that file is separate, and another file would contain another class.
 */

/**
 * An error that the user can fix. It is printed without a stack trace; the message says what is wrong and where. Any other
 * error counts as a bug in the step and is printed with the file and line that threw it and a short stack.
 */
export class StepError extends Error {
  override name = 'StepError';
  constructor(
    message: string,
    /** What to do. */
    readonly hint?: string,
    /** Path of the invalid value in `with`, `['select', 'label']`. The message points to its position in the pipeline file. */
    readonly option?: readonly string[],
  ) {
    super(message);
  }
}
