/** The options of cells, checked once they are known: by their schema, and by what the step itself says of them. */
import type { OptionSchemas, OptionsOf } from '../step.ts';
import { knownAlias } from '../suggest.ts';
import type { Draft } from './cells.ts';
import { traced } from './points.ts';
import type { Reading } from './reading.ts';
import { optionsSchema } from './schema.ts';
import type { Path } from './source.ts';
import type { Step } from './steps.ts';
import type { Used } from './uses.ts';
import { checkSchema, type Mistake, type Validate, validator } from './validate.ts';

/** Fills in defaults. `drafts` are the cells of one step. */
export async function checkOptions(step: Step, drafts: Draft[], reading: Reading): Promise<void> {
  const { used } = step;
  if (!used || step.faulty.has('with')) return;
  const validate = await compiled(used).catch((error: Error) => {
    const [first] = error.message.replace('schema is invalid: data/properties/', '').split(', ');
    const message = `${used.uses} declares options that are no valid JSON Schema: ${first}`;
    reading.report([...step.path, 'uses'], message, 'Mend them in the step.');
  });
  if (!validate) return;
  for (const { cell, point } of drafts) {
    if (cell.action.kind !== 'step') continue;
    const { options } = cell.action;
    const say = ({ path, at, message, hint }: Pick<Mistake, 'path' | 'at' | 'message' | 'hint'>) => {
      if (path.length > 0 && step.faulty.has(`with.${path[0]}`)) return;
      const where = traced(step, ['with', ...path], reading, point.places);
      reading.tell(cell, where.source.diagnostic(where.path, at, message, hint));
    };
    const mistakes = validate(options).filter(
      ({ rule, path, found }) => !(rule === 'required' && path.length === 0 && step.faulty.has(`with.${found}`)),
    );
    for (const mistake of mistakes) say(inWords(mistake, used));
    if (mistakes.length > 0 || [...step.faulty].some((key) => key.startsWith('with.'))) continue;
    for (const { option, message } of used.check?.(options as OptionsOf<OptionSchemas>) ?? []) {
      say({ path: optionPath(option), at: 'value', message });
    }
  }
}

async function compiled({ definition, module }: Used): Promise<Validate> {
  const schema = optionsSchema(definition);
  if ('path' in module) await checkSchema(schema);
  return validator(schema);
}

/** In the words of options. */
function inWords(mistake: Mistake, { uses, definition }: Used): Mistake {
  const { rule, message, hint, found } = mistake;
  if (rule === 'additionalProperties') {
    const alias = knownAlias(mistake.path.join('.'), definition.aliases ?? {}, []);
    return { ...mistake, message: message.replace('unknown key', 'unknown option'), hint: alias?.hint ?? hint };
  }
  if (rule !== 'required') return mistake;
  const write = `Write \`${found}:\` below \`${mistake.path.at(-1) ?? 'with'}\`.`;
  return { ...mistake, message: `${message.replace('missing', 'missing option')} of ${uses}`, hint: hint ? `${write} ${hint}` : write };
}

/** `early_stopping.patience`, `ratios[0]` or `ratios.0`. */
export function optionPath(option: string): Path {
  return option
    .split(/[.[\]]+/)
    .filter((key) => key !== '')
    .map((key) => (/^\d+$/.test(key) ? Number(key) : key));
}
