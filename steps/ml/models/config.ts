/**
 * The tasks, and what a model's config.json says: its task, its labels and its sizes. Steps read this module while a
 * pipeline is parsed, so it needs no family's code and no tensor library.
 */

import { type OptionProblem, StepError } from '../../../engine/contract/step.ts';

/** What other programs and the steps know of a task. What it does is its `TaskKind` in steps/ml/tasks. */
interface TaskFacts {
  /** The ends of the names of transformers' classes. */
  classes: readonly string[];
  /** Its models generate texts token by token. */
  generates?: true;
  /** Its labels take one of the forms of `ProblemType`, which config.json records. */
  problems?: true;
  /** What a label belongs to, if not to a whole input; `positions`: tokens that the batch lists in `label_positions`. */
  labelled?: 'token' | 'answer' | 'positions';
  /** Its models can learn from a teacher. */
  distils?: true;
  /** What a model outputs, if not `logits`. */
  outputs?: readonly string[];
  /** PEFT's name of the task; it has none for masked-lm. */
  peft?: string;
  /** A new head is random: LoRA trains it as a whole. Heads that predict tokens are pre-trained. */
  newHead?: true;
  /** Which options of `tokenize` and of `baseline` apply to it, besides those that apply to every task. */
  options: { tokenize: readonly string[]; baseline: readonly string[] };
  /** The methods of `baseline`, in the order in which they are evaluated. */
  baselines: readonly string[];
  /** The answers are positions in this field: the option that names its column, and its default. */
  positions?: { field: string; option: 'context' | 'words'; usual: string };
}

export const TASKS = {
  'text-classification': {
    classes: ['ForSequenceClassification'],
    problems: true,
    distils: true,
    peft: 'SEQ_CLS',
    newHead: true,
    options: {
      tokenize: ['text', 'text_pair', 'label', 'missing', 'problem_type', 'truncation'],
      baseline: ['text', 'text_pair', 'label', 'missing', 'positive'],
    },
    baselines: ['majority', 'bag_of_words'],
  },
  'token-classification': {
    classes: ['ForTokenClassification'],
    labelled: 'token',
    peft: 'TOKEN_CLS',
    newHead: true,
    options: { tokenize: ['words', 'tags'], baseline: ['words', 'tags'] },
    baselines: ['majority', 'commonest_tag'],
    positions: { field: 'text', option: 'words', usual: 'tokens' },
  },
  'question-answering': {
    classes: ['ForQuestionAnswering'],
    labelled: 'answer',
    outputs: ['start_logits', 'end_logits'],
    peft: 'QUESTION_ANS',
    newHead: true,
    options: { tokenize: ['question', 'context', 'answers', 'stride'], baseline: ['question', 'context', 'answers'] },
    baselines: ['no_answer', 'nearest_sentence'],
    positions: { field: 'context', option: 'context', usual: 'context' },
  },
  'masked-lm': {
    classes: ['ForMaskedLM'],
    labelled: 'positions',
    distils: true,
    options: { tokenize: ['text'], baseline: [] },
    baselines: [],
  },
  'causal-lm': {
    // GPT-2's class is older than the convention.
    classes: ['LMHeadModel', 'ForCausalLM'],
    generates: true,
    labelled: 'positions',
    peft: 'CAUSAL_LM',
    options: { tokenize: ['text', 'prompt', 'completion', 'completion_only_loss', 'block_size'], baseline: [] },
    baselines: ['unigram', 'bigram'],
  },
  seq2seq: {
    classes: ['ForConditionalGeneration'],
    generates: true,
    labelled: 'positions',
    peft: 'SEQ_2_SEQ_LM',
    options: { tokenize: ['text', 'target', 'prefix', 'max_target_length'], baseline: ['text', 'target'] },
    baselines: ['commonest', 'copy', 'lead'],
  },
} as const satisfies Record<string, TaskFacts>;

/** What a model can be trained for. */
export type Task = keyof typeof TASKS;

export const TASK_NAMES = Object.keys(TASKS) as Task[];

export const taskFacts = (task: Task): TaskFacts => TASKS[task];

/** The tasks whose models generate texts token by token. */
export type GeneratingTask = { [T in Task]: (typeof TASKS)[T] extends { generates: true } ? T : never }[Task];

export const isGenerating = (task: Task): task is GeneratingTask => taskFacts(task).generates === true;

/** The labels of a text classifier: one of several, any number of them, or a number; config.json's `problem_type`. */
export type ProblemType = 'single_label_classification' | 'multi_label_classification' | 'regression';

/** The names of what a model outputs for the task. */
export const outputsOf = (task: Task): readonly string[] => taskFacts(task).outputs ?? ['logits'];

/** Whether each input has one label of several. */
export const oneLabel = (task: Task, problem: ProblemType): boolean =>
  taskFacts(task).problems === true && problem === 'single_label_classification';

/** The problems with options of `step` that apply only to other tasks. */
export function optionsOfOtherTasks(options: Record<string, unknown> & { task: Task }, step: keyof TaskFacts['options']): OptionProblem[] {
  const optionsOf = (task: Task): readonly string[] => taskFacts(task).options[step];
  const wrong = [...new Set(TASK_NAMES.flatMap(optionsOf))].filter(
    (name) => options[name] !== undefined && !optionsOf(options.task).includes(name),
  );
  return wrong.map((option) => {
    const tasks = TASK_NAMES.filter((task) => optionsOf(task).includes(option));
    return { option, message: `\`${option}\` applies only to ${tasks.join(' and ')}, not to ${options.task}` };
  });
}

/** `an electra model`, for messages. */
export const aModel = (type: string): string => `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type} model`;

/** A config.json as it is. */
export type ConfigFile = Record<string, unknown>;

/** The fields with a number of layers; an encoder-decoder has one for each stack. */
export const LAYER_COUNTS = ['num_hidden_layers', 'num_hidden_groups', 'n_layers', 'n_layer', 'num_layers', 'num_decoder_layers'] as const;

/** Reads fields with transformers' defaults, and rejects values that are not supported. */
export class ConfigReader {
  readonly #file: ConfigFile;

  constructor(file: ConfigFile) {
    this.#file = file;
  }

  /** A positive integer. */
  count(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a whole number greater than 0', (n) => Number.isSafeInteger(n) && n > 0);
  }

  /** The number of layers, or of groups of layers; each is built weight by weight, hence the limit. */
  layers(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a whole number from 1 to 1024', (n) => Number.isSafeInteger(n) && n > 0 && n <= 1024);
  }

  /** A non-negative integer. */
  index(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a whole number', (n) => Number.isSafeInteger(n) && n >= 0);
  }

  positive(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a number greater than 0', (n) => Number.isFinite(n) && n > 0);
  }

  /** A rate, such as that of dropout. */
  rate(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a number of at least 0 and less than 1', (n) => n >= 0 && n < 1);
  }

  flag(field: string, fallback: boolean): boolean {
    const value = this.#file[field] ?? fallback;
    if (typeof value === 'boolean') return value;
    throw new StepError(`config.json: ${field} is ${JSON.stringify(value)}, but must be true or false`);
  }

  oneOf<T extends string>(field: string, known: readonly T[], fallback: T): T {
    const value = this.#file[field] ?? fallback;
    if (known.includes(value as T)) return value as T;
    throw new StepError(`config.json: ${field} ${JSON.stringify(value)} is not supported`, `Supported: ${known.join(', ')}.`);
  }

  /** A field of which only one value is supported, which is also its default. */
  only(field: string, value: unknown): void {
    const given = this.#file[field] ?? value;
    if (given !== value)
      throw new StepError(`config.json: ${field} ${JSON.stringify(given)} is not supported`, `Supported: ${JSON.stringify(value)}.`);
  }

  /** `field` must be a multiple of `unit`. */
  multiple<C>(field: keyof C & string, unit: keyof C & string, config: C): void {
    const [whole, part] = [config[field], config[unit]] as [number, number];
    if (whole % part !== 0) throw new StepError(`config.json: ${field} ${whole} is not a multiple of ${unit} ${part}`);
  }

  /** The padding token must be in the vocabulary. */
  paddingWithin({ pad_token_id, vocab_size }: { pad_token_id: number; vocab_size: number }): void {
    if (pad_token_id >= vocab_size)
      throw new StepError(
        `config.json: pad_token_id ${pad_token_id} is not in a vocabulary of ${vocab_size} tokens (vocab_size)`,
        'Use the id that tokenizer.json has for the padding token.',
      );
  }

  #number(field: string, fallback: number, what: string, valid: (n: number) => boolean): number {
    const value = this.#file[field] ?? fallback;
    if (typeof value === 'number' && valid(value)) return value;
    throw new StepError(`config.json: ${field} is ${JSON.stringify(value)}, but must be ${what}`);
  }
}

/** `folder`: its name in messages. */
export function taskOf(file: ConfigFile, folder: string): Task {
  const task = knownTask(file);
  if (task) return task;
  const names = architecturesOf(file);
  const base = names.every((name) => !/For[A-Z]/.test(name));
  throw new StepError(
    `${folder} contains a ${names.join(', ')}${base ? ', which has no head for a task' : ', which is not supported'}`,
    `Train it first. The supported tasks are ${TASK_NAMES.join(', ')}.`,
  );
}

export function knownTask(file: ConfigFile): Task | undefined {
  const names = architecturesOf(file);
  // Older folders name no architecture, and our own first bundles were classifiers.
  if (names.length === 0) return 'text-classification';
  return TASK_NAMES.find((task) => taskFacts(task).classes.some((ending) => names.some((name) => name.endsWith(ending))));
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
