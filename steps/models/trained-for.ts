/**
 * The task that a model folder was trained for, as transformers reads it from config.json. It needs no family's code,
 * and so no tensor library.
 */
import { StepError } from '../../engine/step.ts';
import type { ConfigFile } from './config.ts';
import type { ProblemType, Task } from './family.ts';

/** The names of transformers' classes end with the task; GPT-2's is older than this convention. */
const TASKS: Record<string, Task> = {
  ForSequenceClassification: 'text-classification',
  ForTokenClassification: 'token-classification',
  ForQuestionAnswering: 'question-answering',
  ForMaskedLM: 'masked-lm',
  LMHeadModel: 'causal-lm',
  ForCausalLM: 'causal-lm',
  ForConditionalGeneration: 'seq2seq',
};

/** `folder`: its name in messages. */
export function taskOf(file: ConfigFile, folder: string): Task {
  const task = knownTask(file);
  if (task) return task;
  const names = architecturesOf(file);
  const base = names.every((name) => !/For[A-Z]/.test(name));
  throw new StepError(
    `${folder} contains a ${names.join(', ')}${base ? ', a base model that was not trained for a task' : ', which is not supported'}`,
    `Train it first. The supported tasks are ${[...new Set(Object.values(TASKS))].join(', ')}.`,
  );
}

function knownTask(file: ConfigFile): Task | undefined {
  const names = architecturesOf(file);
  // Older folders name no architecture, and our own first bundles were classifiers.
  if (names.length === 0) return 'text-classification';
  return Object.entries(TASKS).find(([ending]) => names.some((name) => name.endsWith(ending)))?.[1];
}

const architecturesOf = ({ architectures }: ConfigFile): string[] => (Array.isArray(architectures) ? architectures.map(String) : []);

/** The labels for which a model for this task has names other than LABEL_0, LABEL_1 …; undefined if it has none. */
export function namedLabels(file: ConfigFile, task: Task): string[] | undefined {
  if (!task.endsWith('-classification') || !file.id2label || knownTask(file) !== task) return undefined;
  const labels = labelsOf(file);
  return labels?.every((label, i) => label === `LABEL_${i}`) ? undefined : labels;
}

/**
 * By id; without `id2label` they are LABEL_0, LABEL_1 … Undefined if config.json does not number them 0, 1, 2 …, or a
 * name is missing or occurs twice.
 */
export function labelsOf({ id2label, num_labels }: ConfigFile): string[] | undefined {
  if (id2label === undefined || id2label === null) {
    const count = typeof num_labels === 'number' && num_labels > 0 ? num_labels : 2;
    return Array.from({ length: count }, (_, id) => `LABEL_${id}`);
  }
  if (typeof id2label !== 'object') return undefined;
  const names = Object.entries(id2label);
  if (names.some(([, name]) => typeof name !== 'string' && typeof name !== 'number')) return undefined;
  const labels: string[] = [];
  for (const [id, name] of names) labels[Number(id)] = String(name);
  const whole = names.length > 0 && names.every((_, id) => labels[id] !== undefined) && new Set(labels).size === names.length;
  return whole ? labels : undefined;
}

/** For a text classifier; a single output is a number. */
export function problemOf({ problem_type }: ConfigFile, labels: string[]): ProblemType {
  const known: unknown[] = ['single_label_classification', 'multi_label_classification', 'regression'];
  if (problem_type !== undefined && problem_type !== null) {
    if (known.includes(problem_type)) return problem_type as ProblemType;
    throw new StepError(`config.json: problem_type ${JSON.stringify(problem_type)} is not supported`, `Supported: ${known.join(', ')}.`);
  }
  return labels.length === 1 ? 'regression' : 'single_label_classification';
}
