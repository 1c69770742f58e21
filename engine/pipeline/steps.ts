/** The steps of a pipeline as written: the shape of each checked, what it `uses` found, its references followed. */
import type { InputDeclaration } from '../step.ts';
import { didYouMean, knownAlias, nearest } from '../suggest.ts';
import { onlyDiffer, placeKey } from './cell-name.ts';
import { type Expression, template } from './expression.ts';
import { isMap, plain, type Tree } from './literal.ts';
import { SHARED } from './points.ts';
import type { Reading } from './reading.ts';
import { follow } from './references.ts';
import { inputsOf, outputsOf, stepSchema } from './schema.ts';
import type { Path } from './source.ts';
import { find, type Used } from './uses.ts';
import type { Mistake } from './validate.ts';

export interface Step {
  name: string;
  /** In the file. */
  path: Path;
  /** Its keys, but for those whose shape is wrong. */
  body: Record<string, Tree>;
  /** Keys with a mistake (`matrix`, `with.seed`): what would only follow from it is not told. */
  faulty: Faults;
  /** Of a step that `uses` something that was found. */
  used?: Used;
  /** The names of its outputs; undefined where a mistake hides them. */
  outputs?: string[];
  inputs: Record<string, InputDeclaration>;
  references: StepReference[];
  /** Steps it refers to without `[*]`: it has their dimensions. */
  parents: ReadonlySet<Step>;
  gathers: ReadonlySet<Step>;
  needs: ReadonlySet<Step>;
  /** Names of its dimensions, inherited ones too; known once it has been expanded. */
  dimensions: ReadonlySet<string>;
}

/** Most steps of a large file refer to few others: one empty set does for all. */
const NONE: ReadonlySet<never> = new Set();

/** A set that most often stays empty, and takes no memory until then. */
class Faults {
  #keys: Set<string> | undefined;

  add(key: string): void {
    this.#keys ??= new Set();
    this.#keys.add(key);
  }

  has(key: string): boolean {
    return this.#keys?.has(key) ?? false;
  }

  some(test: (key: string) => boolean): boolean {
    return [...(this.#keys ?? [])].some(test);
  }
}

export interface StepReference {
  expression: Expression;
  path: Path;
}

export type Steps = Map<string, Step>;

export async function readSteps(bodies: Record<string, Tree>, reading: Reading): Promise<Steps> {
  const steps: Steps = new Map();
  for (const name of Object.keys(bodies)) steps.set(name, shaped(name, bodies[name]!, reading.checkStep(plain(bodies[name]!)), reading));
  checkNames(steps, reading);
  const found = new Map<string, Promise<Used | undefined>>();
  const using = [...steps.values()].filter(({ body: { uses } }) => typeof uses === 'string' && !template(uses));
  await Promise.all(
    using.map(async (step) => {
      const uses = step.body.uses as string;
      if (!found.has(uses))
        found.set(
          uses,
          find(uses, reading, (message, hint) => reading.report([...step.path, 'uses'], message, hint)),
        );
      step.used = await found.get(uses);
    }),
  );
  for (const step of steps.values()) declare(step, reading);
  for (const step of steps.values()) follow(step, steps, reading);
  return steps;
}

/** Of each step's cells outputs and logs lie below its name. */
function checkNames(steps: Steps, reading: Reading): void {
  const seen = new Map<string, string>();
  for (const name of steps.keys()) {
    const key = placeKey(name);
    const other = seen.get(key);
    if (other === undefined) seen.set(key, name);
    else reading.report(['steps', name], `the steps "${other}" and "${name}" ${onlyDiffer(other, name)}`, SHARED, 'key');
  }
}

/** Keys that the design names and that are not built: said so, not ignored. */
const LATER = new Set(['sweep']);

/** Keys whose value must be known before any expression is. */
const LITERAL = new Set(['uses', 'with', 'inputs', 'outputs', 'secrets', 'needs']);

function shaped(name: string, value: Tree, mistakes: Mistake[], reading: Reading): Step {
  const path: Path = ['steps', name];
  const body: Record<string, Tree> = isMap(value) ? { ...value } : {};
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
  if (!isMap(value)) {
    reading.report(path, `step "${name}" takes a map`, 'Write `uses:` with the name of a step, or `run:` with a command.', 'key');
    step.faulty.add('uses');
    return step;
  }
  for (const { path: below, at, message, hint, found } of mistakes) {
    const key = String(below[0]);
    // An expression may stand for any value; what it becomes is checked when it is known.
    const expression = typeof found === 'string' && template(found) !== undefined;
    if (expression && !(LITERAL.has(key) && below.length === 1)) continue;
    const later = below.length === 1 && at === 'key' && LATER.has(key);
    if (later) reading.report([...path, key], `"${key}" is not built yet`, 'Remove it.', 'key');
    else reading.report([...path, ...below], message, hint, at);
    if (Object.hasOwn(stepSchema.properties, key)) step.faulty.add(key);
    delete body[key];
  }
  exclusive(step, reading);
  return step;
}

/** Keys that make each other meaningless. */
function exclusive({ name, path, body, faulty }: Step, reading: Reading): void {
  const has = (key: string) => Object.hasOwn(body, key) || faulty.has(key);
  const wrong = (key: string, message: string, hint: string) => {
    reading.report([...path, key], message, hint, 'key');
    delete body[key];
    faulty.add(key);
  };
  const [uses, run] = [has('uses'), has('run')];
  if (uses && run) {
    wrong('run', '`uses` and `run` exclude each other', 'Make them two steps, or remove one of them.');
    faulty.add('with');
  } else if (uses) {
    if (has('shell')) wrong('shell', '`shell` means nothing beside `uses`', 'Remove it: it belongs to `run`.');
    if (has('inputs')) wrong('inputs', '`inputs` means nothing beside `uses`', 'Write them under `with`.');
    if (has('outputs')) wrong('outputs', '`outputs` means nothing beside `uses`', 'Remove it: the step itself says what it makes.');
  } else if (run) {
    const instead = 'A command has `inputs`, `outputs` and `env`; a value can stand in it as ${{ params.NAME }}.';
    if (has('with')) wrong('with', '`with` means nothing beside `run`', instead);
  } else {
    reading.report(path, `step "${name}" does nothing`, 'Write `uses:` with the name of a step, or `run:` with a command.', 'key');
    faulty.add('uses');
  }
  const variables = Array.isArray(body.env) ? body.env : Object.keys(Object(body.env));
  for (const [i, secret] of ((body.secrets ?? []) as string[]).entries()) {
    if (template(secret)) continue;
    if (variables.includes(secret))
      reading.report(
        [...path, 'secrets', i],
        `${secret} stands both in \`env\` and in \`secrets\``,
        'A secret must not enter the fingerprint: remove it from `env`.',
      );
    else if (!reading.outside.hasSecret(secret))
      reading.report([...path, 'secrets', i], `the variable ${secret} is not set`, `Set it before you run: export ${secret}=…`);
  }
}

/** Inputs and outputs by name; every key of `with` is an option or an input, and every input that must be is there. */
function declare(step: Step, reading: Reading): void {
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
      reading.report([...path, 'uses'], `the outputs "${other}" and "${name}" of ${uses} ${onlyDiffer(other, name)}`, SHARED);
  }
  if (faulty.has('with')) return;
  const options = Object.keys(definition.options ?? {});
  const roles = Object.keys(step.inputs);
  const given = Object.keys(Object(body.with));
  for (const key of given) {
    if (options.includes(key) || roles.includes(key)) continue;
    const names = [...roles, ...options];
    const alias = knownAlias(key, definition.aliases ?? {}, names);
    // Whoever mistyped a name did not leave it out.
    const meant = alias ? alias.name : nearest(key, names);
    if (meant !== undefined && !given.includes(meant)) faulty.add(`with.${meant}`);
    reading.report([...path, 'with', key], `unknown option "${key}"`, alias?.hint ?? didYouMean(key, names, `${uses} takes`), 'key');
  }
  for (const role of roles) {
    if (step.inputs[role]!.optional || given.includes(role) || faulty.has(`with.${role}`)) continue;
    const about = step.inputs[role]!.description;
    reading.report(
      [...path, 'with'],
      `missing input "${role}" of ${uses}`,
      `Write \`${role}:\` below \`with\`, with a path or \${{ steps.STEP.OUTPUT }}.${about ? ` ${about}` : ''}`,
      'key',
    );
    faulty.add(`with.${role}`);
  }
}
