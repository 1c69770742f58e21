/** Reads the steps of a pipeline: checks the types of their keys, finds what they `use` and follows their references. */

import { onlyDiffer, placeKey, SHARED } from '../contract/cell.ts';
import { didYouMean, knownAlias, nearest } from '../format/did-you-mean.ts';
import { Faults, type ParseContext, type ResolvedStep, type Step, type Steps } from './drafts.ts';
import { type Expression, expressionsIn, template } from './interpolate.ts';
import { isTreeMap, plain, type Tree } from './literals.ts';
import { resolveStep } from './resolve-step.ts';
import { inputPath, inputsOf, outputsOf, stepSchema } from './schema.ts';
import type { Mistake } from './schema-check.ts';
import { parseCommand } from './shell.ts';
import type { Path, Within } from './source.ts';

/** The shared empty set, because most steps of a large file have empty sets. */
const NONE: ReadonlySet<never> = new Set();

export async function readSteps(bodies: Record<string, Tree>, context: ParseContext): Promise<Steps> {
  const steps: Steps = new Map();
  for (const name of Object.keys(bodies)) steps.set(name, parseStep(name, bodies[name]!, context.checkStep(plain(bodies[name]!)), context));
  checkNames(steps, context);
  const found = new Map<string, Promise<ResolvedStep | undefined>>();
  const using = [...steps.values()].filter(({ body: { uses } }) => typeof uses === 'string' && !template(uses));
  await Promise.all(
    using.map(async (step) => {
      const uses = step.body.uses as string;
      if (!found.has(uses))
        found.set(
          uses,
          resolveStep(uses, context, (message, hint) => context.report([...step.path, 'uses'], message, hint)),
        );
      step.used = await found.get(uses);
    }),
  );
  for (const step of steps.values()) checkWith(step, context);
  for (const step of steps.values()) resolveReferences(step, steps, context);
  return steps;
}

/** Reports step names that differ only in case, because outputs and logs of cells are in folders with these names. */
function checkNames(steps: Steps, context: ParseContext): void {
  const seen = new Map<string, string>();
  for (const name of steps.keys()) {
    const key = placeKey(name);
    const other = seen.get(key);
    if (other === undefined) seen.set(key, name);
    else context.report(['steps', name], `the steps "${other}" and "${name}" ${onlyDiffer(other, name)}`, SHARED, 'key');
  }
}

/** Keys that are planned but not implemented. They are reported instead of ignored. */
const LATER = new Set(['sweep']);

/** Keys whose value must be known before expressions are resolved. */
const LITERAL = new Set(['uses', 'with', 'inputs', 'outputs', 'secrets', 'needs']);

function parseStep(name: string, value: Tree, mistakes: Mistake[], context: ParseContext): Step {
  const path: Path = ['steps', name];
  const body: Record<string, Tree> = isTreeMap(value) ? { ...value } : {};
  const step: Step = {
    name,
    path,
    body,
    faulty: new Faults(),
    inputs: {},
    references: [],
    parents: NONE,
    gathers: NONE,
    needs: NONE,
    dimensions: NONE,
  };
  if (!isTreeMap(value)) {
    context.report(path, `step "${name}" takes a map`, 'Write `uses:` with the name of a step, or `run:` with a command.', 'key');
    step.faulty.add('uses');
    return step;
  }
  for (const { path: below, at, message, hint, found } of mistakes) {
    const key = String(below[0]);
    // An expression is allowed for any value. Its result is checked when it is known.
    const expression = typeof found === 'string' && template(found) !== undefined;
    if (expression && !(LITERAL.has(key) && below.length === 1)) continue;
    const later = below.length === 1 && at === 'key' && LATER.has(key);
    if (later) context.report([...path, key], `"${key}" is not implemented yet`, 'Remove it.', 'key');
    else context.report([...path, ...below], message, hint, at);
    if (Object.hasOwn(stepSchema.properties, key)) step.faulty.add(key);
    delete body[key];
  }
  checkKeyCombinations(step, context);
  return step;
}

function checkKeyCombinations({ name, path, body, faulty }: Step, context: ParseContext): void {
  const has = (key: string) => Object.hasOwn(body, key) || faulty.has(key);
  const wrong = (key: string, message: string, hint: string) => {
    context.report([...path, key], message, hint, 'key');
    delete body[key];
    faulty.add(key);
  };
  const [uses, run] = [has('uses'), has('run')];
  if (uses && run) {
    wrong('run', '`uses` and `run` cannot be used together', 'Write two steps, or remove one of the keys.');
    faulty.add('with');
  } else if (uses) {
    if (has('shell')) wrong('shell', '`shell` cannot be used with `uses`', 'Remove it. `shell` applies only to `run`.');
    if (has('inputs')) wrong('inputs', '`inputs` cannot be used with `uses`', 'Write the inputs under `with`.');
    if (has('outputs')) wrong('outputs', '`outputs` cannot be used with `uses`', 'Remove it. The step itself declares its outputs.');
  } else if (run) {
    const instead = 'A command has `inputs`, `outputs` and `env`. Write values in it as ${{ params.NAME }}.';
    if (has('with')) wrong('with', '`with` cannot be used with `run`', instead);
  } else {
    context.report(path, `step "${name}" does nothing`, 'Write `uses:` with the name of a step, or `run:` with a command.', 'key');
    faulty.add('uses');
  }
  const variables = Array.isArray(body.env) ? body.env : Object.keys(Object(body.env));
  for (const [i, secret] of ((body.secrets ?? []) as string[]).entries()) {
    if (!variables.includes(secret) || template(secret)) continue;
    context.report(
      [...path, 'secrets', i],
      `${secret} is listed in both \`env\` and \`secrets\``,
      'Remove it from `env`, because a secret must not enter the fingerprint.',
    );
  }
}

function checkWith(step: Step, context: ParseContext): void {
  const { body, faulty, used, path } = step;
  if (Object.hasOwn(body, 'run')) {
    step.outputs = faulty.has('outputs') ? undefined : Object.keys(Object(body.outputs));
    if (body.inputs !== undefined)
      step.inputs = Object.fromEntries(Object.keys(Object(body.inputs)).map((role) => [role, { kind: 'any', many: true }]));
    return;
  }
  if (!used) return;
  const { definition, uses } = used;
  step.inputs = inputsOf(definition);
  step.outputs = Object.keys(outputsOf(definition));
  const alike = step.outputs.map(
    (name, i) => [step.outputs!.slice(0, i).find((other) => placeKey(other) === placeKey(name)), name] as const,
  );
  for (const [other, name] of alike) {
    if (other !== undefined)
      context.report([...path, 'uses'], `the outputs "${other}" and "${name}" of ${uses} ${onlyDiffer(other, name)}`, SHARED);
  }
  if (faulty.has('with')) return;
  const options = Object.keys(definition.options ?? {});
  const roles = Object.keys(step.inputs).filter((role) => inputPath(role).length === 1);
  const given = Object.keys(Object(body.with));
  for (const key of given) {
    if (options.includes(key) || roles.includes(key)) continue;
    const names = [...roles, ...options];
    const alias = knownAlias(key, definition.aliases ?? {}, names);
    // The input with the misspelt name is not missing.
    const meant = alias ? alias.name : nearest(key, names);
    if (meant !== undefined && !given.includes(meant)) faulty.add(`with.${meant}`);
    context.report([...path, 'with', key], `unknown option "${key}"`, alias?.hint ?? didYouMean(key, names, `${uses} takes`), 'key');
  }
  for (const role of roles) {
    if (step.inputs[role]!.optional || given.includes(role) || faulty.has(`with.${role}`)) continue;
    const about = step.inputs[role]!.description;
    context.report(
      [...path, 'with'],
      `missing input "${role}" of ${uses}`,
      `Write \`${role}:\` below \`with\`, with a path or \${{ steps.STEP.OUTPUT }}.${about ? ` ${about}` : ''}`,
      'key',
    );
    faulty.add(`with.${role}`);
  }
}

/* References: whether they are allowed at their position, and whether their targets exist. */

const EVERYWHERE = ['params', 'matrix'];
const IN_COMMANDS = [...EVERYWHERE, 'npm', 'steps', 'inputs', 'outputs'];

const ALLOWED: Record<string, string[]> = {
  uses: [],
  needs: [],
  secrets: [],
  matrix: ['params'],
  with: [...EVERYWHERE, 'npm', 'steps'],
  inputs: [...EVERYWHERE, 'npm', 'steps'],
  run: IN_COMMANDS,
  env: IN_COMMANDS,
};

/** Checks the references and records the steps that the step refers to and needs. */
function resolveReferences(step: Step, steps: Steps, context: ParseContext): void {
  for (const key of Object.keys(step.body)) {
    for (const [expression, path] of expressionsIn(step.body[key]!, [...step.path, key])) {
      if (key === 'run' && isInComment(step, expression, path)) continue;
      const mistake = syntaxMistake(expression) ?? kindMistake(key, expression) ?? targetMistake(step, expression, path, steps, context);
      if (mistake) {
        const [message, hint, within] = mistake;
        context.report(path, message, hint, 'value', within);
        step.faulty.add(key === 'with' ? `with.${path[3]}` : key);
      }
      const { reference } = expression;
      if (!reference || kindMistake(key, expression)) continue;
      step.references.push({ expression, path });
      const producer = reference.kind === 'steps' ? steps.get(reference.step) : undefined;
      if (!producer || producer === step || reference.kind !== 'steps') continue;
      if (reference.gather) step.gathers = addStep(step.gathers, producer);
      else step.parents = addStep(step.parents, producer);
    }
  }
  resolveNeeds(step, steps, context);
}

/** Adds to the set, or creates a new one if it is still the shared empty set. */
function addStep(set: ReadonlySet<Step>, step: Step): ReadonlySet<Step> {
  return set.size === 0 ? new Set([step]) : (set as Set<Step>).add(step);
}

function resolveNeeds(step: Step, steps: Steps, context: ParseContext): void {
  const { needs = [] } = step.body;
  for (const [i, name] of ([needs].flat() as string[]).entries()) {
    const path = [...step.path, 'needs', ...(Array.isArray(needs) ? [i] : [])];
    const needed = steps.get(name);
    if (needed === step) context.report(path, 'a step cannot need itself', 'Remove it.');
    else if (needed) step.needs = addStep(step.needs, needed);
    else if (!template(name)) context.report(path, `there is no step "${name}"`, didYouMean(name, othersThan(step, steps), 'steps'));
  }
}

type ReferenceMistake = [message: string, hint: string, within: Within];

function syntaxMistake({ mistake }: Expression): ReferenceMistake | undefined {
  return mistake && [mistake.message, mistake.hint, mistake.within];
}

function kindMistake(key: string, { source, reference, whole }: Expression): ReferenceMistake | undefined {
  const allowed = ALLOWED[key] ?? EVERYWHERE;
  const kind = reference?.kind;
  if (kind === undefined || allowed.includes(kind)) return undefined;
  if (allowed.length === 0)
    return [
      `\`${key}\` cannot contain an expression`,
      'Its value must be known before expressions are resolved. Write a plain value.',
      whole,
    ];
  const names = allowed.map((one) => (one === 'npm' ? "npm('pkg')" : one)).join(', ');
  if (key === 'outputs' && kind === 'steps')
    return ["an output cannot be inside another step's output", `\`outputs\` can use: ${names}`, whole];
  return [`\`${key}\` cannot use \${{ ${source} }}`, `It can use: ${names}`, whole];
}

function targetMistake(
  step: Step,
  { reference, names, whole }: Expression,
  path: Path,
  steps: Steps,
  context: ParseContext,
): ReferenceMistake | undefined {
  switch (reference?.kind) {
    case 'params': {
      const unknown = context.params.unknown(reference.keys);
      return unknown && [unknown.message, unknown.hint, names[unknown.depth]!];
    }
    case 'npm':
      if (context.environment.packageFolder(reference.package) !== undefined) return undefined;
      return [`the package ${reference.package} is not installed`, `Install it: npm install -D ${reference.package}`, names[0]!];
    case 'inputs': {
      const hidden = step.faulty.has('inputs') || (!Object.hasOwn(step.body, 'run') && !step.used);
      if (hidden || Object.hasOwn(step.inputs, reference.role)) return undefined;
      const hint = didYouMean(reference.role, Object.keys(step.inputs), 'inputs of this step');
      return [`there is no input "${reference.role}"`, hint, names[0]!];
    }
    case 'outputs': {
      if (!step.outputs || step.outputs.includes(reference.name)) return undefined;
      return [`there is no output "${reference.name}"`, didYouMean(reference.name, step.outputs, 'outputs of this step'), names[0]!];
    }
    case 'steps': {
      const { step: name, output } = reference;
      const option = String(path[3]);
      const isInput = path.some((_, depth) => depth > 3 && Object.hasOwn(step.inputs, path.slice(3, depth + 1).join('.')));
      if (path[2] === 'with' && step.used && !isInput && Object.hasOwn(step.used.definition.options ?? {}, option)) {
        const inputs = Object.keys(step.inputs).join(', ') || 'none';
        const { uses } = step.used;
        return [`"${option}" is an option of ${uses}, and options cannot refer to outputs of steps`, `inputs of ${uses}: ${inputs}`, whole];
      }
      const producer = steps.get(name);
      if (!producer) return [`there is no step "${name}"`, didYouMean(name, othersThan(step, steps), 'steps'), names[0]!];
      if (producer === step) {
        const hint = path[2] === 'run' ? `Write \${{ outputs.${output} }} for its path.` : 'Remove it.';
        return ['a step cannot read its own output', hint, names[0]!];
      }
      if (!producer.outputs || producer.outputs.includes(output)) return undefined;
      return [`step "${name}" has no output "${output}"`, didYouMean(output, producer.outputs, 'its outputs'), names[1]!];
    }
  }
}

function othersThan(step: Step, steps: Steps): string[] {
  return [...steps.keys()].filter((name) => name !== step.name);
}

/** References in comments are ignored, because the command does not include comments. */
function isInComment({ body }: Step, expression: Expression, path: Path): boolean {
  const text = String(Array.isArray(body.run) ? body.run[Number(path[3] ?? 0)] : body.run);
  if (!text.includes('#')) return false;
  const { parts } = parseCommand(text, body.shell === 'bash' ? 'bash' : 'sh');
  return parts.every((part) => typeof part === 'string' || part.expression.start !== expression.start);
}
