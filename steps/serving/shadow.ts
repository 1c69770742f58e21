/** Shadow traffic: a second model answers a share of the requests after the first one has, and its answers are only compared. */
import { isDeepStrictEqual } from 'node:util';
import { type Json, StepError } from '../../engine/contract/step.ts';
import type { Bundle } from '../ml/answering/bundle.ts';
import type { Measurements } from './measurements.ts';
import type { ServedModel } from './served-model.ts';

/** @throws StepError if the second model cannot answer the requests of the first */
export function checkShadow(bundle: Bundle, shadow: Bundle): void {
  const names = ({ fields }: Bundle) => fields.map(({ name }) => name);
  if (bundle.task !== shadow.task || bundle.problem !== shadow.problem || !isDeepStrictEqual(names(bundle), names(shadow)))
    throw new StepError(
      `--shadow ${shadow.name}: it is a model for ${shadow.task} with ${names(shadow).join(', ')}, but ${bundle.name} is one for ${bundle.task} with ${names(bundle).join(', ')}`,
      'Both must have the same task and inputs.',
    );
}

export class Shadow {
  #due = 0;
  #running = 0;

  constructor(
    private readonly model: ServedModel,
    /** Of the requests. */
    private readonly share: number,
    private readonly measurements: Measurements,
  ) {}

  /** The model, followed by the shadow. */
  behind(first: ServedModel): ServedModel {
    const whole: ServedModel = Object.create(first);
    whole.predict = async (inputs, request) => {
      const answers = await first.predict(inputs, request);
      this.#compare(answers, async () => this.model.predict(inputs, { ...request, ...unlimited() }));
      return answers;
    };
    whole.generate = async (request, options) => {
      const texts = await first.generate(request, options);
      this.#compare(
        texts.map(({ text }) => text),
        async () => (await this.model.generate({ ...request, stream: false }, unlimited())).map(({ text }) => text),
      );
      return texts;
    };
    return whole;
  }

  close(): Promise<void> {
    return this.model.close();
  }

  /** Not awaited: nothing of the shadow reaches a client. While it is busy, requests are left out. */
  #compare(answers: Json[], ask: () => Promise<Json[]>): void {
    this.#due += this.share;
    if (this.#due < 1) return;
    this.#due -= 1;
    if (this.#running >= mostRunning) {
      this.measurements.shadow('skipped');
      return;
    }
    this.#running++;
    ask()
      .then(
        (others) => {
          for (const [i, answer] of answers.entries())
            this.measurements.shadow(isDeepStrictEqual(decisionOf(answer), decisionOf(others[i]!)) ? 'same' : 'different');
        },
        () => this.measurements.shadow('failed'),
      )
      .finally(() => {
        this.#running--;
      });
  }
}

const mostRunning = 4;

/** It is not the client's, who may be gone, and its memory is bounded by the number of requests. */
const unlimited = () => ({ signal: new AbortController().signal, ticket: { take: () => {}, leave: () => {} } });

/** An answer without its scores, unless it is nothing but scores: a prediction of numbers, to six digits. */
function decisionOf(answer: Json): unknown {
  if (typeof answer === 'number') return Number(answer.toPrecision(6));
  if (Array.isArray(answer)) {
    // A list of all labels, the predicted one first.
    const [first] = answer;
    if (isObject(first) && 'label' in first) return first.label;
    return answer.map(decisionOf);
  }
  if (!isObject(answer)) return answer;
  const entries = Object.entries(answer);
  const decided = entries.filter(([name]) => name !== 'score' && name !== 'scores');
  return Object.fromEntries((decided.length > 0 ? decided : entries).map(([name, value]) => [name, decisionOf(value)]));
}

const isObject = (value: Json | undefined): value is { [name: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
