/**
 * Validates the messages of a step's process. A step may send anything, for example with `metric('loss', {})`. Invalid
 * messages must not break the engine. An invalid metric is reported instead of recorded.
 */
import type { Frame } from '../user-stack.ts';
import type { Message } from './step-process.ts';

/** Undefined for an unknown message. */
export function heard(said: unknown): Message | undefined {
  if (said === null || typeof said !== 'object') return undefined;
  const message = said as Record<string, unknown>;
  switch (message.type) {
    case 'begun':
    case 'done':
    case 'free':
      return { type: message.type };
    case 'log':
    case 'warn':
    case 'result':
      return { type: message.type, message: String(message.message) };
    case 'progress':
      return progress(message);
    case 'metric':
      return metric(message);
    case 'error':
      return {
        type: 'error',
        message: String(message.message),
        ...texts(message, ['hint', 'stack']),
        ...(isTexts(message.option) ? { option: message.option } : {}),
        ...(isFrames(message.frames) ? { frames: message.frames } : {}),
      };
    default:
      return undefined;
  }
}

function progress({ done, total, values }: Record<string, unknown>): Message | undefined {
  if (!isNumber(done)) return undefined;
  const shown = Object.entries(Object(values)).filter(([, value]) => isNumber(value) || typeof value === 'string');
  return {
    type: 'progress',
    done,
    ...(isNumber(total) ? { total } : {}),
    values: Object.fromEntries(shown) as Record<string, number | string>,
  };
}

/** JSON has no NaN, so NaN arrives as null. */
function metric({ name, value, step }: Record<string, unknown>): Message {
  const figure = value === null ? Number.NaN : value;
  if (typeof name !== 'string' || typeof figure !== 'number' || (step !== undefined && step !== null && !isNumber(step))) {
    const told = `${typeof name === 'string' ? name : JSON.stringify(name)} = ${JSON.stringify(value)}`;
    return { type: 'warn', message: `ignored the metric ${told}: a metric needs a name and a number` };
  }
  return { type: 'metric', name, value: figure, ...(isNumber(step) ? { step } : {}) };
}

function texts(message: Record<string, unknown>, keys: string[]): Record<string, string> {
  return Object.fromEntries(keys.flatMap((key) => (typeof message[key] === 'string' ? [[key, message[key]]] : [])));
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isFrames(value: unknown): value is Frame[] {
  return (
    Array.isArray(value) &&
    value.every((frame) => typeof Object(frame).file === 'string' && isNumber(Object(frame).line) && isNumber(Object(frame).column))
  );
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
