/** Checks the references of a step: whether they are allowed at their position and whether their targets exist. */
import { didYouMean } from '../format/did-you-mean.ts';
import type { ParseContext, Step, Steps } from './drafts.ts';
import { type Expression, expressionsIn, template } from './interpolate.ts';
import { parseCommand } from './shell.ts';
import type { Path, Within } from './source.ts';

const EVERYWHERE = ['params', 'matrix'];
const IN_COMMANDS = [...EVERYWHERE, 'npm', 'steps', 'inputs', 'outputs'];

/** The references that each key of a step allows. */
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
export function resolveReferences(step: Step, steps: Steps, context: ParseContext): void {
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

type Mistake = [message: string, hint: string, within: Within];

function syntaxMistake({ mistake }: Expression): Mistake | undefined {
  return mistake && [mistake.message, mistake.hint, mistake.within];
}

function kindMistake(key: string, { source, reference, whole }: Expression): Mistake | undefined {
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
): Mistake | undefined {
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
      const isInput = Object.hasOwn(step.inputs, `${option}.${path[4]}`);
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
