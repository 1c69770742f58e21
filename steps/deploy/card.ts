/** The model card: what people should know before they use the model, with the metadata that the Hugging Face hub reads. */
import { stringify } from 'yaml';
import type { CleaningOptions } from '../ml/data/cleaning.ts';
import type { Preprocessing } from '../ml/data/preprocessing.ts';
import type { DataSources } from '../ml/data/table.ts';
import type { IntervalEnds } from '../ml/metrics/intervals.ts';
import type { ModelCalibration } from '../ml/models/calibration.ts';
import { aModel, isGenerating } from '../ml/models/config.ts';
import type { Model } from '../ml/models/model-folder.ts';
import type { Encoding } from '../ml/models/token-dataset.ts';
import type { Side } from '../ml/models/tokenizer.ts';
import { type Quantization, TRANSFORMERS_JS_DTYPE } from '../ml/runtime/quantization.ts';
import { cleaningOf, encodingOf } from '../ml/tasks/encoder.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { InputAndAnswer, TaskCard } from '../ml/tasks/task.ts';
import { aboutCalibration, useCalibrated } from './calibration-card.ts';
import { code, fenced, listOf, oneOf, plain, table } from './markdown.ts';
import { aboutQuantization } from './quantization-card.ts';
import type { QuantizationReport } from './quantized.ts';

export interface ModelCard {
  name: string;
  license?: string;
  model: Model;
  /** training.json. */
  training: Record<string, any>;
  /** sources.json; undefined if the training data are unknown. */
  sources?: DataSources | undefined;
  /** preprocessing.json. */
  preprocessing: Preprocessing;
  /** The side on which long texts are truncated. */
  truncationSide: Side;
  /** For masked-lm: the mask token. */
  mask: string | undefined;
  calibration?: ModelCalibration | undefined;
  metrics?: Metrics | undefined;
  quantization?: QuantizationReport | undefined;
  /** Whether the bundle has ONNX files: only a model of more than 2 GB has none. */
  onnx: boolean;
}

/** The report of evaluate. */
export interface Metrics {
  split: string;
  rows: number;
  /** Null for a metric that is undefined for these rows. */
  metrics: Record<string, number | null>;
  /** Why a metric is undefined. */
  undefined?: Record<string, string>;
  intervals?: Record<string, IntervalEnds>;
  interval?: { level: number };
  labels?: string[];
  positive?: string;
  confusion_matrix?: number[][];
  /** The generation options of the evaluated texts. */
  generation?: Record<string, unknown>;
}

export function modelCard(card: ModelCard): string {
  const { name, model, training, sources, preprocessing, truncationSide, mask, calibration, metrics, quantization, onnx } = card;
  const encoding: Partial<Encoding> = encodingOf(training);
  const fields = Object.keys(encoding.fields ?? Object.fromEntries(taskKind(model.task).fields.map(({ name }) => [name, name])));
  const cleaning = fields.map((field) => ({ field, steps: cleaningOf(field, { task: model.task, encoding, preprocessing }) }));
  const cleaned = cleaning.some(({ steps }) => steps.length > 0);
  const parts = [
    frontMatter(card),
    `# ${name}`,
    `A${aModel(model.family.type).slice(1)} that ${purposeOf(model, training.pairs === true)}. Made with tunesmith.`,
    '## Results',
    ...results(metrics),
    ...(calibration ? aboutCalibration(model, calibration) : []),
    ...(quantization ? aboutQuantization(quantization, { evaluated: metrics !== undefined, generating: isGenerating(model.task) }) : []),
    '## Preprocessing',
    ...whatIsDone(cleaning),
    ...whatIsRead(model, encoding, truncationSide),
    '## Use',
    ...use(model, { cleaned, mask, calibration, quantize: quantization?.quantize, onnx, ...encoding }),
    '## Training data',
    ...trainingData(sources),
    '## Training',
    ...trainingFacts(training),
  ];
  return `${parts.join('\n\n')}\n`;
}

function frontMatter({ name, license, model, sources, metrics, onnx }: ModelCard): string {
  const datasets = hubDatasets(sources);
  const { hubTask } = taskKind(model.task).card;
  const front = {
    ...(license && { license }),
    library_name: 'transformers',
    pipeline_tag: hubTask,
    tags: [
      hubTask,
      model.family.type,
      ...(onnx ? ['onnx'] : []),
      ...(onnx && runsInTransformersJs(model) ? ['transformers.js'] : []),
      'tunesmith',
    ],
    ...(datasets.length > 0 && { datasets }),
    ...(metrics && {
      metrics: Object.keys(metrics.metrics).filter((metric) => hubMetrics.has(metric) && metrics.metrics[metric] !== null),
    }),
    model_name: name,
    ...(metrics && modelIndex(name, hubTask, metrics, datasets[0])),
  };
  return `---\n${stringify(front)}---`;
}

/** The results, as the hub shows them. It requires a data set; `unknown` is what others write for data without a page. */
function modelIndex(name: string, task: string, { split, metrics }: Metrics, dataset: string | undefined): object {
  const known = Object.entries(metrics).filter(([, value]) => value !== null);
  if (known.length === 0) return {};
  const result = {
    task: { type: task },
    dataset: { name: dataset ?? 'Unknown', type: dataset ?? 'unknown', split },
    metrics: known.map(([type, value]) => ({ type, value, name: type })),
  };
  return { 'model-index': [{ name, results: [result] }] };
}

/** The data sets that have a page on the Hugging Face hub. */
function hubDatasets(sources: DataSources | undefined): string[] {
  const names = (sources?.sources ?? []).flatMap(({ name }) => /^hf:\/\/datasets\/([^@]+)@/.exec(name)?.[1] ?? []);
  return [...new Set(names)];
}

/** Whether transformers.js 4 has a class for the model. It reads the ONNX file, but supports only classes that it knows. */
function runsInTransformersJs({ task, family }: Model): boolean {
  return !UNKNOWN_TO_TRANSFORMERS_JS.includes(`${family.type} for ${task}`);
}

const UNKNOWN_TO_TRANSFORMERS_JS = ['albert for token-classification', 'gpt2 for text-classification', 'modernbert for question-answering'];

function purposeOf({ task, problem, labels }: Model, pairs: boolean): string {
  const names = labels.slice(0, 20).map(code);
  const list = labels.length > 20 ? `${names.join(', ')} and ${labels.length - 20} more` : listOf(names);
  return taskKind(task).card.purpose({
    problem,
    texts: pairs ? 'a pair of texts' : 'a text',
    labels: list,
    oneLabel: labels.length > 20 ? `one of ${list}` : oneOf(names),
  });
}

/** Metrics that have a page on the hub. */
const hubMetrics = new Set(['accuracy', 'precision', 'recall', 'f1', 'roc_auc', 'matthews_correlation']);

function results(metrics: Metrics | undefined): string[] {
  if (!metrics) return ['Not evaluated.'];
  const about = metrics.positive ? ` Precision, recall and F1 refer to ${code(metrics.positive)} unless their names say otherwise.` : '';
  const generation = Object.entries(metrics.generation ?? {}).map(([name, value]) => code(`${name}: ${value}`));
  const written = generation.length > 0 ? ` The texts were generated with ${listOf(generation)}.` : '';
  const level = metrics.interval ? ` Brackets contain the ${metrics.interval.level * 100}% confidence interval.` : '';
  const parts = [
    `Evaluated on ${metrics.rows} rows of the split ${code(metrics.split)}.${about}${written}${level}`,
    table(
      ['metric', 'value'],
      Object.keys(metrics.metrics).map((metric) => [metric, figureOf(metrics, metric)]),
    ),
  ];
  const { confusion_matrix: matrix, labels } = metrics;
  if (!matrix || !labels) return parts;
  if (labels.length > MOST_LABELS)
    return [
      ...parts,
      `The confusion matrix of ${labels.length.toLocaleString('en-US')} labels is left out. The metrics file of \`evaluate\` contains it.`,
    ];
  const rows = matrix.map((row, i) => [`**${plain(labels[i]!)}**`, ...row.map(String)]);
  return [...parts, 'Rows are true labels, columns are predicted labels:', table(['', ...labels.map(plain)], rows)];
}

/** A larger confusion matrix is not readable, and would make the card large. */
const MOST_LABELS = 50;

function figureOf({ metrics, intervals, undefined: reasons }: Metrics, name: string): string {
  const value = metrics[name];
  if (typeof value !== 'number') return reasons?.[name] ? `n/a: ${plain(reasons[name])}` : 'n/a';
  const shown = (number: number) => (Number.isInteger(number) ? `${number}` : number.toFixed(4));
  const { low, high } = intervals?.[name] ?? {};
  return typeof low === 'number' && typeof high === 'number' ? `${shown(value)} [${shown(low)}, ${shown(high)}]` : shown(value);
}

const removals: Record<string, string> = {
  html: 'HTML tags, comments, scripts and styles (then entities are decoded)',
  urls: 'URLs',
  emails: 'e-mail addresses',
  special_characters: 'special characters',
  numbers: 'numbers',
};

function whatIsDone(each: { field: string; steps: Preprocessing }[]): string[] {
  const cleaned = each.filter(({ steps }) => steps.length > 0);
  if (cleaned.length === 0) return ['None: the training data were used unchanged.'];
  return [
    '`tunesmith serve`, `predict` and `generate` preprocess inputs as the training data were preprocessed. The options are in `preprocessing.json`.',
    ...cleaned.flatMap(({ field, steps }) => [
      ...(each.length > 1 ? [`The field ${code(field)}:`] : []),
      steps
        .flatMap((step) => ('clean' in step ? cleaningSteps(step.clean) : [MAILS]))
        .map((done) => `- ${done}`)
        .join('\n'),
    ]),
  ];
}

/** How inputs are encoded. */
function whatIsRead({ task }: Model, encoding: Partial<Encoding>, side: Side): string[] {
  const { fields = {}, max_length, pairs, truncation, prefix, max_target_length } = encoding;
  if (max_length === undefined) return [];
  const cut = { longest_first: 'the longer text', only_first: 'the first text', only_second: 'the second text' };
  const lines = [
    `inputs are ${listOf(Object.entries(fields).map(([field, column]) => (field === column ? code(field) : `${code(field)} (column ${code(column)} of the training data)`)))}`,
    ...(prefix ? [`each text gets the prefix ${code(prefix)}`] : []),
    taskKind(task).card.longInput(encoding, side),
    ...(pairs ? [`if a pair is too long, ${cut[truncation ?? 'longest_first']} is truncated`] : []),
    ...(max_target_length === undefined ? [] : [`generated texts have at most ${max_target_length} tokens by default`]),
  ];
  return ['## Model inputs', lines.map((line) => `- ${line}`).join('\n')];
}

const MAILS = 'mails are converted to their texts: headers are removed, MIME and HTML bodies are decoded';

function cleaningSteps(options: CleaningOptions): string[] {
  const kept = options.keep_characters && options.remove.includes('special_characters') ? `, except ${code(options.keep_characters)}` : '';
  return [
    ...(options.normalize === 'none' ? [] : [`Unicode is normalized to ${options.normalize}`]),
    ...(options.lowercase ? ['letters are converted to lower case'] : []),
    ...options.remove.map((what) => `removed: ${removals[what] ?? what}${what === 'special_characters' ? kept : ''}`),
    ...(options.whitespace === 'collapse' ? ['runs of white space are replaced with one space'] : []),
  ];
}

interface Usage extends Partial<Encoding> {
  cleaned: boolean;
  mask: string | undefined;
  calibration: ModelCalibration | undefined;
  quantize: Quantization | undefined;
  onnx: boolean;
}

function use(model: Model, usage: Usage): string[] {
  const { card } = taskKind(model.task);
  if (!card.example) return useOfGenerator(model, card, usage);
  const { cleaned, mask = '[MASK]', pairs, calibration } = usage;
  const { input, answer } = { ...card.example(model, mask), ...(pairs && { input: { text: 'a text', text_pair: 'another text' } }) };
  const group = calibration?.group;
  const request = group === undefined ? input : { ...(typeof input === 'string' ? { text: input } : input), [group]: '…' };
  return [
    'Serve the model, with a page to try it in the browser, or predict from a file of JSON lines:',
    fenced('sh', 'npx tunesmith serve .\nnpx tunesmith predict . inputs.jsonl > answers.jsonl'),
    fenced(
      'sh',
      `curl http://127.0.0.1:8080/predict -H 'content-type: application/json' -d '${JSON.stringify({ inputs: request })}'\n# for example ${JSON.stringify({ predictions: [answer] })}`,
    ),
    ...(cleaned ? [PREPROCESS_FIRST] : []),
    calibration ? useCalibrated(model, calibration, input, card.pythonArguments?.(usage) ?? '') : useInPython(card, input, usage),
    ...(usage.onnx && runsInTransformersJs(model)
      ? [...(calibration ? [UNCALIBRATED] : []), useInTransformersJs(model, card, input, usage)]
      : []),
  ];
}

const UNCALIBRATED = 'transformers.js does not read `calibration.json`: its scores and labels are those without the calibration.';

const PREPROCESS_FIRST = 'Elsewhere, preprocess the text first, as described above.';

function useInPython(
  { hubTask, loader, topK, pythonArguments }: TaskCard,
  input: InputAndAnswer['input'],
  encoding: Partial<Encoding>,
): string {
  if (loader) return fenced('python', loading(loader));
  return fenced(
    'python',
    `from transformers import pipeline\n\nmodel = pipeline("${hubTask}", model="."${topK ? ', top_k=None' : ''})\nmodel(${JSON.stringify(input)}${pythonArguments?.(encoding) ?? ''})`,
  );
}

const loading = (loader: string): string =>
  `from transformers import ${loader}, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(".")\nmodel = ${loader}.from_pretrained(".")`;

function useInTransformersJs(
  model: Model,
  { hubTask, topK }: TaskCard,
  input: InputAndAnswer['input'],
  { pairs, quantize }: Usage,
): string {
  const dtype = dtypeOf({ quantize });
  const [text, pair] = pairs ? ['a text', "text_pair: 'another text', "] : [input, ''];
  // The pipeline of transformers.js takes only one text, and converts the output of a regression to a probability.
  return pairs || model.problem === 'regression'
    ? fenced(
        'js',
        `import { AutoModelForSequenceClassification, AutoTokenizer } from '@huggingface/transformers';\n\nconst tokenizer = await AutoTokenizer.from_pretrained('path/of/this/folder');\nconst model = await AutoModelForSequenceClassification.from_pretrained('path/of/this/folder', { dtype: '${dtype}' });\nconst { logits } = await model(tokenizer('${text}', { ${pair}truncation: true }));`,
      )
    : fenced(
        'js',
        `${pipelineOf(hubTask, { quantize })}\nawait model(${
          typeof input === 'string'
            ? `'${input}'`
            : Object.values(input)
                .map((text) => `'${text}'`)
                .join(', ')
        }${topK ? ', { top_k: null }' : ''});`,
      );
}

const pipelineOf = (hubTask: string, quantized: Pick<Usage, 'quantize'>): string =>
  `import { pipeline } from '@huggingface/transformers';\n\nconst model = await pipeline('${hubTask}', 'path/of/this/folder', { dtype: '${dtypeOf(quantized)}' });`;

const dtypeOf = ({ quantize }: Pick<Usage, 'quantize'>): string => (quantize ? TRANSFORMERS_JS_DTYPE[quantize] : 'fp32');

function useOfGenerator(model: Model, { loader, pythonArguments, hubTask }: TaskCard, usage: Usage): string[] {
  const { cleaned, prefix = '', max_target_length } = usage;
  const body = { prompt: 'Once upon a time', max_new_tokens: max_target_length ?? 50 };
  const text = JSON.stringify(prefix + body.prompt);
  return [
    'Serve the model, with a page to try it in the browser, or generate from a prompt or from every `prompt` of a file of JSON lines:',
    fenced(
      'sh',
      `npx tunesmith serve .\nnpx tunesmith generate . ${JSON.stringify(body.prompt)}\nnpx tunesmith generate . --file prompts.jsonl > texts.jsonl`,
    ),
    fenced('sh', `curl http://127.0.0.1:8080/generate -H 'content-type: application/json' -d '${JSON.stringify(body)}'`),
    ...(cleaned ? [PREPROCESS_FIRST] : []),
    fenced(
      'python',
      `${loading(loader!)}\nids = model.generate(**tokenizer(${text}, return_tensors="pt"${pythonArguments?.(usage) ?? ''}), max_new_tokens=${body.max_new_tokens})\ntokenizer.decode(ids[0], skip_special_tokens=True)`,
    ),
    ...(usage.onnx && runsInTransformersJs(model)
      ? [fenced('js', `${pipelineOf(hubTask, usage)}\nawait model(${text}, { max_new_tokens: ${body.max_new_tokens} });`)]
      : []),
  ];
}

function trainingData(sources: DataSources | undefined): string[] {
  if (!sources) return ['Unknown: the model folder does not record the training data.'];
  const count = (n: number, what: string) => `${n.toLocaleString('en-US')} ${what}${n === 1 ? '' : 's'}`;
  return [
    `${count(sources.rows, 'row')} ${sources.rows === 1 ? 'was' : 'were'} collected from these sources. Later steps may have changed or dropped some of them.`,
    sources.sources.map(({ name, files }) => `- ${code(name)}${files > 1 ? ` (${count(files, 'file')})` : ''}`).join('\n'),
  ];
}

/** Results of the training come before its options; a key that both have is listed once. */
function trainingFacts(training: Record<string, any>): string[] {
  const { name: _, options, runtime, ...facts } = training;
  const rows = Object.entries({ ...facts, ...(runtime && { runtime: runtime.description ?? runtime.name }) });
  for (const [key, value] of Object.entries(options ?? {})) if (!rows.some(([known]) => known === key)) rows.push([key, value]);
  if (rows.length === 0) return ['Unknown: the model folder does not record the training.'];
  return [
    table(
      ['', ''],
      rows.map(([key, value]) => [key, typeof value === 'object' ? code(JSON.stringify(value)) : `${value}`]),
    ),
  ];
}
