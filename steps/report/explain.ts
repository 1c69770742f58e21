/** Examples of predictions as the report shows them: texts with the tokens that speak for and against the prediction. */

import type { StepContext } from '../../engine/contract/step.ts';
import type { AttributedToken, Attribution, Explained } from '../ml/answering/attribution.ts';
import { beginning, type MarkedPart, type ShownExample, shown, visible } from './document.ts';
import type { PredictedExample, PredictionTable } from './predictions.ts';

/** Attributions of examples; undefined for those that have none. */
export type Explain = (examples: readonly PredictedExample[]) => Promise<(ExplainedLabel[] | undefined)[]>;

/** What speaks for and against one predicted label, or for a higher and a lower number. */
export interface ExplainedLabel {
  /** Undefined for a number. */
  label: string | undefined;
  attribution: Attribution;
  /** The columns of the texts, in the order of the attribution's texts. */
  fields: string[];
}

/**
 * Explains predictions with the model that made them. Undefined if it cannot: the reason is reported. Tensor libraries are loaded only
 * here.
 */
export async function explainer(
  folder: string,
  { threads, signal, runtime }: Pick<StepContext, 'threads' | 'signal'> & { runtime: 'auto' | 'onnx' | 'tensorflow' | 'eager' },
): Promise<Explain | undefined> {
  const { loadModel } = await import('../ml/models/model-folder.ts');
  const { readEncoding } = await import('../ml/tasks/encoder.ts');
  const { readConfig } = await import('../ml/models/model-folder.ts');
  const { taskOf } = await import('../ml/models/config.ts');
  if (taskOf(await readConfig(folder), folder) !== 'text-classification') return undefined;
  const model = await loadModel(folder, 'text-classification');
  const columns = (await readEncoding(folder)).fields ?? { text: 'text' };
  const fields = ['text', 'text_pair'].flatMap((name) => (columns[name] === undefined ? [] : [{ name, column: columns[name]! }]));
  const { attribute } = await import('../ml/answering/attribution.ts');
  const { openRuntime } = await import('../ml/device/open.ts');
  return async (examples) => {
    const asked: (Explained & { example: number; name: string | undefined })[] = [];
    const places = new Map<string, number>();
    const placeOf = examples.map(({ id }, i) => {
      if (!places.has(id)) places.set(id, i);
      return places.get(id)!;
    });
    for (const example of places.values()) {
      const { texts } = examples[example]!;
      if (fields.some(({ column }) => texts[column] === undefined)) continue;
      const input = Object.fromEntries(fields.map(({ name, column }) => [name, texts[column]!]));
      const regression = model.problem === 'regression';
      const names = regression ? [undefined] : explainedLabels(examples[example]!, model.labels);
      for (const name of names) asked.push({ input, label: name === undefined ? 0 : model.labels.indexOf(name), example, name });
    }
    if (asked.length === 0) return examples.map(() => undefined);
    const attributions = await attribute(await openRuntime(runtime, { threads }), { folder, model }, asked, signal);
    const found: (ExplainedLabel[] | undefined)[] = examples.map(() => undefined);
    for (const [i, attribution] of attributions.entries()) {
      const { example, name } = asked[i]!;
      if (attribution)
        found[example] = [...(found[example] ?? []), { label: name, attribution, fields: fields.map(({ column }) => column) }];
    }
    return placeOf.map((place) => found[place]);
  };
}

/** The predicted label; of a set, first those that are wrong or missed. */
function explainedLabels({ truth, predicted }: PredictedExample, labels: string[]): string[] {
  const added = predicted.filter((name) => !truth.includes(name));
  const missed = truth.filter((name) => !predicted.includes(name));
  return [...new Set([...added, ...missed, ...predicted])].filter((name) => labels.includes(name)).slice(0, MOST_LABELS);
}

const MOST_LABELS = 2;

/** Characters of a text that are shown. */
const SHOWN = 700;

/** How each example is shown. Examples of the same row are explained once. */
export async function examplesOf(
  predicted: readonly PredictedExample[],
  kind: PredictionTable['kind'],
  explain: Explain | undefined,
): Promise<Map<PredictedExample, ShownExample>> {
  const explained = (await explain?.(predicted)) ?? [];
  return new Map(predicted.map((example, i) => [example, exampleOf(example, kind, explained[i])]));
}

function exampleOf(example: PredictedExample, kind: PredictionTable['kind'], explained: ExplainedLabel[] = []): ShownExample {
  const { id, truth, predicted, score, loss, tokens, texts, unread, words } = example;
  const list = (values: string[]) => beginning(values.join(', ') || (kind === 'answer' ? '(no answer)' : '(none)'), 200);
  const inFacts = kind !== 'tokens' && kind !== 'tags' && kind !== 'written';
  const facts: ShownExample['facts'] = [
    ...(inFacts ? [['true', list(truth)] as [string, string], ['predicted', list(predicted)] as [string, string]] : []),
    ...(score === null ? [] : [['score', shown(score)] as [string, string]]),
    ...(loss === null ? [] : [['loss', shown(loss)] as [string, string]]),
    ...(tokens === null ? [] : [['tokens', shown(tokens)] as [string, string]]),
    ['id', beginning(id, 120)],
  ];
  const [first] = explained;
  const names = Object.keys(texts);
  const partsOf = (name: string) => {
    const attributed = first?.fields.indexOf(name) ?? -1;
    return attributed < 0 ? plain(texts[name]!, unread[name]) : markedParts(texts[name]!, unread[name]!, first!.attribution, attributed);
  };
  const fields: ShownExample['fields'] = names.map((name) => ({
    ...((names.length > 1 || kind === 'written') && { name }),
    parts: partsOf(name),
  }));
  if (kind === 'written')
    fields.push({ name: 'target', parts: plain(truth.join(' / ')) }, { name: 'generated', parts: plain(predicted.join(' / ')) });
  if (kind === 'tags' && words) fields.push({ parts: taggedParts(words, truth, predicted) });
  const notes = explained.flatMap((one) => strongest(one, texts));
  return { facts, fields, notes: kind === 'tags' && words ? wrongTags(words, truth, predicted) : notes };
}

/** Words whose tag is wrong are underlined. */
const taggedParts = (words: string[], truth: string[], predicted: string[]): MarkedPart[] =>
  words
    .slice(0, MOST_WORDS)
    .flatMap((word, i): MarkedPart[] => [
      { text: beginning(word, SHOWN), ...(truth[i] !== predicted[i] && { level: -LEVELS }) },
      { text: i === MOST_WORDS - 1 && words.length > MOST_WORDS ? ` … (+ ${words.length - MOST_WORDS} words)` : ' ' },
    ]);

function wrongTags(words: string[], truth: string[], predicted: string[]): string[] {
  const wrong = words.flatMap((word, i) =>
    truth[i] === predicted[i] ? [] : [`${beginning(word, 60)}: ${truth[i] ?? '(none)'}, predicted ${predicted[i] ?? '(none)'}`],
  );
  if (wrong.length === 0) return [];
  return [`${wrong.slice(0, 20).join('; ')}${wrong.length > 20 ? ` … (+ ${wrong.length - 20} words)` : '.'}`];
}

const MOST_WORDS = 120;

const plain = (text: string, unread = 0): MarkedPart[] => [{ text: beginning(text, SHOWN, unread) }];

/** The text in parts, whose level is the attribution of their tokens relative to the strongest one. */
function markedParts(text: string, unread: number, { tokens }: Attribution, index: number): MarkedPart[] {
  const scale = largest(tokens);
  const end = text.length > SHOWN ? SHOWN : text.length;
  const parts: MarkedPart[] = [];
  let at = 0;
  for (const { text: own, span, value } of tokens) {
    const [from, to] = span;
    const level = Math.round((LEVELS * value) / scale);
    if (own !== index || from < at || to <= from || to > end || level === 0) continue;
    if (from > at) parts.push({ text: text.slice(at, from) });
    parts.push({ text: text.slice(from, to), level });
    at = to;
  }
  return [...parts, { text: beginning(text.slice(at), Math.max(0, SHOWN - at), unread) }].filter(({ text }) => text !== '');
}

const LEVELS = 4;

/** Special tokens are not shown. */
const largest = (tokens: readonly AttributedToken[]): number =>
  Math.max(1e-30, ...tokens.map(({ text, value }) => (text === null ? 0 : Math.abs(value))));

/** The strongest tokens in words, for readers who do not see colors. */
function strongest({ label, attribution, fields }: ExplainedLabel, texts: Record<string, string>): string[] {
  const { tokens, truncated } = attribution;
  const written = ({ text, span: [begin, end], token }: AttributedToken) =>
    visible((text !== null && texts[fields[text]!]?.slice(begin, end)) || token).trim();
  const own = tokens.filter((token) => token.text !== null && written(token) !== '').sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const side = (sign: 1 | -1) =>
    own
      .filter(({ value }) => sign * value > 0)
      .slice(0, 5)
      .map((token) => `${beginning(written(token), 40)} (${token.value > 0 ? '+' : '−'}${shown(Math.abs(token.value))})`);
  const [up, down] = [side(1), side(-1)];
  const what = `the ${label === undefined ? 'number' : `score of “${label}”`}`;
  return [
    ...(up.length > 0 ? [`Raise ${what}: ${up.join(', ')}.`] : []),
    ...(down.length > 0 ? [`Lower ${up.length > 0 ? 'it' : what}: ${down.join(', ')}.`] : []),
    ...(truncated ? ['The model read only a part of this text.'] : []),
  ];
}
