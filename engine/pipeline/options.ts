/** Checks the options of cells when their values are known: by their schema and by the step's own `check`. */

import { onlyFromSteps, optionPath, optionsIn, presentPaths, upstreamOf } from '../contract/cell.ts';
import type { OptionProblem, OptionSchemas, OptionsOf } from '../contract/step.ts';
import { knownAlias } from '../format/did-you-mean.ts';
import type { Json } from '../format/scalars.ts';
import type { Draft, ParseContext, ResolvedStep, Step } from './drafts.ts';
import { locateValue } from './matrix.ts';
import { optionsSchema } from './schema.ts';
import { checkSchema, type Mistake, type Validate, validator } from './schema-check.ts';

/** Checks options and fills in defaults. `drafts`: the cells of one step. */
export async function checkOptions(step: Step, drafts: Draft[], context: ParseContext): Promise<void> {
  const { used } = step;
  if (!used || step.faulty.has('with')) return;
  const validate = await compileOptions(used).catch((error: Error) => {
    const [first] = error.message.replace('schema is invalid: data/properties/', '').split(', ');
    const message = `${used.uses} declares options that are not a valid JSON Schema: ${first}`;
    context.report([...step.path, 'uses'], message, 'Fix the schema in the step.');
  });
  if (!validate) return;
  for (const { cell, point } of drafts) {
    if (cell.action.kind !== 'step') continue;
    const { options } = cell.action;
    if (Object.keys(cell.matrix).length > 0) fillMatrixDefaults(options, used.definition.options ?? {}, step.faulty);
    const report = reporter(step, { cell, point }, context);
    const mistakes = validate(options).filter(
      ({ rule, path, found }) => !(rule === 'required' && path.length === 0 && step.faulty.has(`with.${found}`)),
    );
    for (const mistake of mistakes) report(inTermsOfOptions(mistake, used));
    if (mistakes.length > 0 || step.faulty.some((key) => key.startsWith('with.'))) continue;
    for (const problem of used.check?.(options as OptionsOf<OptionSchemas>) ?? []) report(asMistake(problem, options));
  }
}

function fillMatrixDefaults(options: Record<string, Json>, schemas: OptionSchemas, faulty: Step['faulty']): void {
  for (const [name, { defaultInMatrix }] of Object.entries(schemas))
    if (defaultInMatrix !== undefined && !Object.hasOwn(options, name) && !faulty.has(`with.${name}`))
      options[name] = defaultInMatrix as Json;
}

/** Reports options that cannot work with the results of the steps before. `drafts`: the cells of all steps, with checked options. */
export async function checkForesight(drafts: Draft[], context: ParseContext): Promise<void> {
  if (!drafts.some(({ step }) => step.used?.foresee)) return;
  const cells = new Map(drafts.map(({ cell }) => [cell.name, cell]));
  const byName = new Map(drafts.map((draft) => [draft.cell.name, draft]));
  for (const draft of drafts) {
    const { foresee } = draft.step.used ?? {};
    if (!foresee || draft.cell.action.kind !== 'step') continue;
    const none = () => false;
    const above = upstreamOf(draft.cell, cells, none);
    const paths = presentPaths(draft.cell, cells, none, context.folder);
    for (const role of foresee.reads) for (const path of paths[role] ?? []) context.environment.stamp(path);
    const found = await foresee.check(draft.cell.action.options as OptionsOf<OptionSchemas>, above, paths, onlyFromSteps(draft.cell));
    for (const { upstream, ...problem } of found) {
      const at = upstream === undefined ? draft : byName.get(upstream)!;
      reporter(at.step, at, context)(asMistake(problem, optionsIn(at.cell)));
    }
  }
}

type OptionMistake = Pick<Mistake, 'path' | 'at' | 'message' | 'hint'>;

function reporter(step: Step, { cell, point }: Pick<Draft, 'cell' | 'point'>, context: ParseContext): (mistake: OptionMistake) => void {
  return ({ path, at, message, hint }) => {
    if (path.length > 0 && step.faulty.has(`with.${path[0]}`)) return;
    const where = locateValue(step, ['with', ...path], context, point.places);
    context.reportForCell(cell, where.source.diagnostic(where.path, at, message, hint));
  };
}

const asMistake = ({ option, message, hint }: OptionProblem, options: Json): OptionMistake => ({
  path: optionPath(option, options),
  at: 'value',
  message,
  ...(hint && { hint }),
});

async function compileOptions({ definition, module }: ResolvedStep): Promise<Validate> {
  const schema = optionsSchema(definition);
  if ('path' in module) await checkSchema(schema);
  return validator(schema);
}

/** The error in terms of options instead of keys. */
function inTermsOfOptions(mistake: Mistake, { uses, definition }: ResolvedStep): Mistake {
  const { rule, message, hint, found } = mistake;
  if (rule === 'additionalProperties') {
    const alias = knownAlias(mistake.path.join('.'), definition.aliases ?? {}, []);
    return { ...mistake, message: message.replace('unknown key', 'unknown option'), hint: alias?.hint ?? hint };
  }
  if (rule !== 'required') return mistake;
  const write = `Write \`${found}:\` below \`${mistake.path.at(-1) ?? 'with'}\`.`;
  return { ...mistake, message: `${message.replace('missing', 'missing option')} of ${uses}`, hint: hint ? `${write} ${hint}` : write };
}
