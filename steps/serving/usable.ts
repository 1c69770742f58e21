/** Marks errors of the given model or options, for which a command ends with exit code 2. */
import { StepError } from '../../engine/contract/step.ts';

/** An invalid bundle or option, for which the command ends with exit code 2. */
class UnusableError extends StepError {
  override name = 'UnusableError';
}

/** Converts a StepError of `open` to an UnusableError. @throws UnusableError if the folder cannot be used */
export async function usable<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    throw error instanceof StepError ? new UnusableError(error.message, error.hint) : error;
  }
}
