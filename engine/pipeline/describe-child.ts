/** The child process that loads a custom step and sends its declaration in one message. */
import { dirname, relative } from 'node:path';
import { userStack } from '../contract/errors.ts';
import { loadStep } from '../contract/load-step.ts';
import { StepError } from '../contract/step.ts';
import type { StepDescription } from './resolve-step.ts';

process.send!(await describe(process.argv[2]!), () => process.exit(0));

async function describe(path: string): Promise<StepDescription> {
  try {
    const { run, check, foresee, ...declared } = await loadStep(path);
    return { definition: JSON.parse(JSON.stringify(declared)) as typeof declared };
  } catch (error) {
    if (error instanceof StepError) return { message: error.message, hint: error.hint };
    const { name, message, code, stack } = Object(error) as { name?: string; message?: string; code?: string; stack?: string };
    const missing =
      code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
        ? /package '([^']+)'|module '([^'./][^']*)'/.exec(message ?? '')
        : null;
    if (missing)
      return {
        message: `it imports the package ${missing[1] ?? missing[2]}, which is not installed`,
        hint: `Install it: npm install ${missing[1] ?? missing[2]}`,
      };
    const [first = '', second = ''] = (message ?? String(error)).split('\n');
    const [at] = userStack(stack, path);
    const where = at && `at ${relative(dirname(path), at.file)}:${at.line}:${at.column}`;
    // The first line may be only "Transform failed with 1 error:".
    return { message: `it failed while loading: ${name ?? 'Error'}: ${first.endsWith(':') ? `${first} ${second}` : first}`, hint: where };
  }
}
