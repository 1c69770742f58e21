/** The steps of a pipeline as written: the shape of each checked, what it `uses` found, its references followed. */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { builtin, builtinNames } from '../registry.ts';
import type { InputDeclaration, Json, StepDefinition } from '../step.ts';
import { didYouMean, nearest } from '../suggest.ts';
import { describeStep } from './describe.ts';
import { type Expression, template } from './expression.ts';
import { expressionsIn } from './fill.ts';
import { packageEntry, packageFolder } from './packages.ts';
import type { StepAction } from './pipeline.ts';
import type { Reading } from './reading.ts';
import { type Declaration, inputsOf, outputsOf, stepSchema } from './schema.ts';
import { parseCommand } from './shell.ts';
import type { Path, Within } from './source.ts';
import type { Mistake } from './validate.ts';

export interface Step {
  name: string;
  /** In the file. */
  path: Path;
  /** Its keys, but for those whose shape is wrong. */
  body: Record<string, Json>;
  /** Keys with a mistake (`matrix`, `with.seed`): what would only follow from it is not told. */
  faulty: Set<string>;
  /** Of a step that `uses` something that was found. */
  used?: Used;
  /** The names of its outputs; undefined where a mistake hides them. */
  outputs?: string[];
  inputs: Record<string, InputDeclaration>;
  references: StepReference[];
  /** Steps it refers to without `[*]`: it has their dimensions. */
  parents: Set<Step>;
  gathers: Set<Step>;
  needs: Set<Step>;
  /** Names of its dimensions, inherited ones too; known once it has been expanded. */
  dimensions: Set<string>;
}

export interface Used {
  uses: string;
  module: StepAction['module'];
  definition: Declaration;
  check?: StepDefinition['check'];
}

export interface StepReference {
  expression: Expression;
  path: Path;
}

export type Steps = Map<string, Step>;

export async function readSteps(bodies: Record<string, Json>, reading: Reading): Promise<Steps> {
  const steps: Steps = new Map();
  for (const [name, body] of Object.entries(bodies)) steps.set(name, shaped(name, body, reading.checkStep(body), reading));
  const found = new Map<string, Promise<Used | undefined>>();
  await Promise.all(
    [...steps.values()].map(async (step) => {
      const { uses } = step.body;
      if (typeof uses !== 'string') return;
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

/** Keys that the design names and that are not built: said so, not ignored. */
const LATER = new Set(['resources', 'frozen', 'version', 'sweep']);

/** Keys whose value must be known before any expression is. */
const LITERAL = new Set(['uses', 'with', 'inputs', 'outputs', 'secrets', 'needs']);

function shaped(name: string, value: Json, mistakes: Mistake[], reading: Reading): Step {
  const path: Path = ['steps', name];
  const isMap = value !== null && typeof value === 'object' && !Array.isArray(value);
  const body: Record<string, Json> = isMap ? { ...value } : {};
  const step: Step = {
    name,
    path,
    body,
    faulty: new Set(),
    inputs: {},
    references: [],
    parents: new Set(),
    gathers: new Set(),
    needs: new Set(),
    dimensions: new Set(),
  };
  if (!isMap) {
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
  if (has('uses') && has('run')) wrong('run', '`uses` and `run` exclude each other', 'Make them two steps, or remove one of them.');
  else if (!has('uses') && !has('run')) {
    reading.report(path, `step "${name}" does nothing`, 'Write `uses:` with the name of a step, or `run:` with a command.', 'key');
    faulty.add('uses');
  }
  if (has('uses')) {
    if (has('shell')) wrong('shell', '`shell` means nothing beside `uses`', 'Remove it: it belongs to `run`.');
    if (has('inputs')) wrong('inputs', '`inputs` means nothing beside `uses`', 'Write them under `with`.');
    if (has('outputs'))
      wrong('outputs', '`outputs` means nothing beside `uses`', 'The step itself says what it makes: ${{ steps.STEP.OUTPUT }}.');
  } else if (has('run') && has('with'))
    wrong(
      'with',
      '`with` means nothing beside `run`',
      'A command has `inputs`, `outputs` and `env`; a value can stand in it as ${{ params.NAME }}.',
    );
  const variables = Array.isArray(body.env) ? body.env : Object.keys(Object(body.env));
  for (const [i, secret] of ((body.secrets ?? []) as string[]).entries()) {
    if (variables.includes(secret))
      reading.report(
        [...path, 'secrets', i],
        `${secret} stands both in \`env\` and in \`secrets\``,
        'A secret must not enter the fingerprint: remove it from `env`.',
      );
    else if (reading.env[secret] === undefined)
      reading.report([...path, 'secrets', i], `the variable ${secret} is not set`, `Set it before you run: export ${secret}=…`);
  }
}

async function find(uses: string, reading: Reading, wrong: (message: string, hint?: string) => void): Promise<Used | undefined> {
  const own = await builtin(uses);
  if (own) {
    const { run, check, ...definition } = own;
    return { uses, module: { builtin: uses }, definition, check };
  }
  const path = /^\.{0,2}[\\/]/.test(uses) || isAbsolute(uses) ? ownFile(uses, reading, wrong) : installed(uses, reading, wrong);
  if (path === undefined) return undefined;
  const described = await describeStep(path, reading);
  if ('definition' in described) return { uses, module: { path }, definition: described.definition };
  wrong(`${uses}: ${described.message}`, described.hint);
  return undefined;
}

function ownFile(uses: string, { folder }: Reading, wrong: (message: string, hint?: string) => void): string | undefined {
  const path = resolve(folder, uses);
  if (/\.[cm]?[jt]s$/.test(path) && existsSync(path)) return path;
  const beside = existsSync(dirname(path)) ? readdirSync(dirname(path)).filter((file) => /\.[cm]?[jt]s$/.test(file)) : [];
  const near = beside.find((file) => file.replace(/\.[cm]?[jt]s$/, '') === basename(path)) ?? nearest(basename(path), beside);
  const named = near && `${uses.slice(0, uses.length - basename(uses).length)}${near}`;
  if (existsSync(path)) wrong(`${uses} is no step`, named ? `did you mean ${named}?` : 'A step is a .ts, .js or .mjs file.');
  else wrong(`there is no file ${uses}`, named ? `did you mean ${named}?` : '`tunesmith new-step` writes a step to start from.');
  return undefined;
}

function installed(uses: string, { folder }: Reading, wrong: (message: string, hint?: string) => void): string | undefined {
  const [, name, sub] = /^((?:@[\w.~-]+\/)?[\w.~-]+)(\/.+)?$/.exec(uses) ?? [];
  const found = name === undefined ? undefined : packageFolder(name, folder);
  if (found === undefined) {
    const file = ['', '.ts', '.js', '.mjs']
      .map((end) => `${uses}${end}`)
      .find((file) => /\.[cm]?[jt]s$/.test(file) && existsSync(join(folder, file)));
    const steps = didYouMean(uses, builtinNames(), 'steps');
    wrong(
      `there is no step "${uses}"`,
      file
        ? `A file is written with ./ before it: ./${file}`
        : `${steps}\nA step of yours is written ./my-step.ts; a package must be installed.`,
    );
    return undefined;
  }
  const entry = packageEntry(found, sub === undefined ? '.' : `.${sub}`);
  if (entry === undefined || !existsSync(entry)) {
    wrong(`the package ${name} has no module ${sub === undefined ? 'to import' : `.${sub}`}`, 'It is no step.');
    return undefined;
  }
  return realpathSync(entry);
}

/** Inputs and outputs by name; every key of `with` is an option or an input, and every input that must be is there. */
function declare(step: Step, reading: Reading): void {
  const { body, faulty, used, path } = step;
  if (Object.hasOwn(body, 'run')) {
    step.outputs = faulty.has('outputs') ? undefined : Object.keys(Object(body.outputs));
    step.inputs = Object.fromEntries(Object.keys(Object(body.inputs)).map((role) => [role, { kind: 'any', many: true }]));
    return;
  }
  if (!used) return;
  const { definition, uses } = used;
  step.inputs = inputsOf(definition);
  step.outputs = Object.keys(outputsOf(definition));
  if (faulty.has('with')) return;
  const options = Object.keys(definition.options ?? {});
  const roles = Object.keys(step.inputs);
  const given = Object.keys(Object(body.with));
  for (const key of given) {
    if (options.includes(key) || roles.includes(key)) continue;
    reading.report([...path, 'with', key], `unknown option "${key}"`, didYouMean(key, [...roles, ...options], `${uses} takes`), 'key');
  }
  for (const role of roles) {
    if (step.inputs[role]!.optional || given.includes(role)) continue;
    const about = step.inputs[role]!.description;
    reading.report(
      [...path, 'with'],
      `missing input "${role}" of ${uses}`,
      about ?? `Write ${role}: with a path, or \${{ steps.STEP.OUTPUT }}.`,
      'key',
    );
    faulty.add(`with.${role}`);
  }
}

const EVERYWHERE = ['params', 'matrix'];

/** What expressions may refer to, by the key that they stand under. */
const ALLOWED: Record<string, string[]> = {
  uses: [],
  needs: [],
  secrets: [],
  matrix: ['params'],
  outputs: EVERYWHERE,
  with: [...EVERYWHERE, 'npm', 'steps'],
  inputs: [...EVERYWHERE, 'npm', 'steps'],
  run: [...EVERYWHERE, 'npm', 'steps', 'inputs', 'outputs'],
  env: [...EVERYWHERE, 'npm', 'steps', 'inputs', 'outputs'],
};

function follow(step: Step, steps: Steps, reading: Reading): void {
  for (const key of Object.keys(step.body)) {
    for (const [expression, path] of expressionsIn(step.body[key]!, [...step.path, key])) {
      if (key === 'run' && isInComment(step, expression, path)) continue;
      const wrong = (message: string, hint: string, within: Within) => {
        reading.report(path, message, hint, 'value', within);
        step.faulty.add(key === 'with' ? `with.${path[3]}` : key);
      };
      if (expression.mistake) wrong(expression.mistake.message, expression.mistake.hint, expression.mistake.within);
      else if (!(ALLOWED[key] ?? EVERYWHERE).includes(expression.reference!.kind)) forbidden(key, expression, wrong);
      else {
        step.references.push({ expression, path });
        exists(step, expression, path, steps, reading, wrong);
      }
    }
  }
  for (const [i, name] of [step.body.needs ?? []].flat().entries()) {
    const path = [...step.path, 'needs', ...(Array.isArray(step.body.needs) ? [i] : [])];
    const needed = steps.get(String(name));
    if (needed === step) reading.report(path, 'a step cannot need itself', 'Remove it.');
    else if (needed) step.needs.add(needed);
    else if (!template(String(name))) reading.report(path, `there is no step "${name}"`, didYouMean(String(name), steps.keys(), 'steps'));
  }
}

type Wrong = (message: string, hint: string, within: Within) => void;

function forbidden(key: string, { source, reference, whole }: Expression, wrong: Wrong): void {
  const allowed = ALLOWED[key] ?? EVERYWHERE;
  if (allowed.length === 0) return wrong(`\`${key}\` takes no expression`, 'It decides how the file is read: write it out.', whole);
  const can = allowed.map((kind) => (kind === 'npm' ? "npm('pkg')" : kind)).join(', ');
  const kind = reference!.kind;
  if (kind === 'steps' && key === 'outputs')
    return wrong("an output cannot lie in another step's output", `\`outputs\` can use: ${can}`, whole);
  wrong(`\`${key}\` cannot use \${{ ${source} }}`, `It can use: ${can}`, whole);
}

function exists(step: Step, { reference, names, whole }: Expression, path: Path, steps: Steps, reading: Reading, wrong: Wrong): void {
  switch (reference!.kind) {
    case 'params':
      reading.params.unknown(reference!.keys, (depth, message, hint) => wrong(message, hint, names[depth]!));
      return;
    case 'npm':
      if (reading.packageFolder(reference!.package) === undefined) {
        wrong(`the package ${reference!.package} is not installed`, `npm install -D ${reference!.package}`, names[0]!);
      }
      return;
    case 'inputs':
      if (step.faulty.has('inputs') || (!Object.hasOwn(step.body, 'run') && !step.used)) return;
      if (!Object.hasOwn(step.inputs, reference!.role)) {
        wrong(
          `there is no input "${reference!.role}"`,
          didYouMean(reference!.role, Object.keys(step.inputs), 'inputs of this step'),
          names[0]!,
        );
      }
      return;
    case 'outputs':
      if (step.outputs && !step.outputs.includes(reference!.name)) {
        wrong(`there is no output "${reference!.name}"`, didYouMean(reference!.name, step.outputs, 'outputs of this step'), names[0]!);
      }
      return;
    case 'steps': {
      const { step: name, output, gather } = reference!;
      const key = String(path[3]);
      if (path[2] === 'with' && step.used && Object.hasOwn(step.used.definition.options ?? {}, key)) {
        const inputs = Object.keys(step.inputs).join(', ') || 'none';
        return wrong(
          `"${key}" is an option of ${step.used.uses}: it cannot take what a step made`,
          `inputs of ${step.used.uses}: ${inputs}`,
          whole,
        );
      }
      const made = steps.get(name);
      if (made === step)
        return wrong(
          'a step cannot read its own output',
          path[2] === 'run' ? `Write \${{ outputs.${output} }} for its path.` : 'Remove it.',
          names[0]!,
        );
      if (!made)
        return wrong(
          `there is no step "${name}"`,
          didYouMean(
            name,
            [...steps.keys()].filter((other) => other !== step.name),
            'steps',
          ),
          names[0]!,
        );
      if (made.outputs && !made.outputs.includes(output)) {
        wrong(`step "${name}" has no output "${output}"`, didYouMean(output, made.outputs, 'its outputs'), names[1]!);
      }
      (gather ? step.gathers : step.parents).add(made);
    }
  }
}

/** A comment is left out of the command, and so is what it refers to. */
function isInComment({ body }: Step, expression: Expression, path: Path): boolean {
  const text = [body.run].flat()[Number(path[3] ?? 0)];
  const { parts } = parseCommand(String(text), body.shell === 'bash' ? 'bash' : 'sh');
  return parts.every((part) => typeof part === 'string' || part.expression !== expression);
}
