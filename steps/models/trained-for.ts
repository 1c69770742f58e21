/** What a model folder was trained for, as transformers reads its config.json. Needs no family's code, and so no tensor library. */
import { StepError } from '../../engine/step.ts';
import type { ConfigFile } from './config.ts';
import type { ProblemType, Task } from './family.ts';

/** The classes of transformers end in what they are for; GPT-2's is older than that custom. */
const TASKS: Record<string, Task> = {
  ForSequenceClassification: 'text-classification',
  ForTokenClassification: 'token-classification',
  ForQuestionAnswering: 'question-answering',
  ForMaskedLM: 'masked-lm',
  LMHeadModel: 'causal-lm',
  ForCausalLM: 'causal-lm',
  ForConditionalGeneration: 'seq2seq',
};

/** `folder`: what messages call it. */
export function taskOf(file: ConfigFile, folder: string): Task {
  const task = knownTask(file);
  if (task) return task;
  const names = architecturesOf(file);
  const base = names.every((name) => !/For[A-Z]/.test(name));
  throw new StepError(
    `${folder} holds a ${names.join(', ')}${base ? ', a base model that was trained for no task' : ', which is not supported'}`,
    `Train it first; supported are models for ${[...new Set(Object.values(TASKS))].join(', ')}.`,
  );
}

function knownTask(file: ConfigFile): Task | undefined {
  const names = architecturesOf(file);
  // Older folders name none, and our own first bundles were classifiers.
  if (names.length === 0) return 'text-classification';
  return Object.entries(TASKS).find(([ending]) => names.some((name) => name.endsWith(ending)))?.[1];
}

const architecturesOf = ({ architectures }: ConfigFile): string[] => (Array.isArray(architectures) ? architectures.map(String) : []);

/** The labels that a model for this task has names for, other than LABEL_0, LABEL_1 …; undefined where it has none. */
export function namedLabels(file: ConfigFile, task: Task): string[] | undefined {
  if (!task.endsWith('-classification') || !file.id2label || knownTask(file) !== task) return undefined;
  const labels = labelsOf(file);
  return labels?.every((label, i) => label === `LABEL_${i}`) ? undefined : labels;
}

/** By id; without `id2label` they are called LABEL_0, LABEL_1. Undefined where config.json numbers them otherwise than 0, 1, 2 …, or gives no names or one twice. */
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

/** Of a text classifier; one output alone is a number. */
export function problemOf({ problem_type }: ConfigFile, labels: string[]): ProblemType {
  const known: unknown[] = ['single_label_classification', 'multi_label_classification', 'regression'];
  if (problem_type !== undefined && problem_type !== null) {
    if (known.includes(problem_type)) return problem_type as ProblemType;
    throw new StepError(`config.json: problem_type ${JSON.stringify(problem_type)} is not supported`, `Supported: ${known.join(', ')}.`);
  }
  return labels.length === 1 ? 'regression' : 'single_label_classification';
}
