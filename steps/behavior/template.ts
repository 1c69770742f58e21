/**
 * Templates: texts with slots such as `{feeling}`, which values of lexicons fill. `{name:a}` and `{name:b}` are two slots of one
 * lexicon, which get different values. The same slot has the same value in all texts of a case.
 */

import { nearest } from '../../engine/contract/step.ts';
import { shuffle } from '../ml/models/random.ts';
import type { Lexicons } from './lexicons.ts';

/** A part is a text or a slot, `lexicon:tag` or `lexicon`. */
type Part = string | { slot: string };

interface ParsedTemplate {
  parts: Part[];
  /** Where the template is wrong: the character, from 1. */
  wrong?: { at: number; message: string; hint?: string };
}

/** `{{` and `}}` stand for braces. */
export function parseTemplate(text: string): ParsedTemplate {
  const parts: Part[] = [];
  const pattern = /\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g;
  for (const { 0: found, 1: inner, index } of text.matchAll(pattern)) {
    if (inner !== undefined) {
      if (!/^[\p{L}\p{N}_-]+(?::[\p{L}\p{N}_-]+)?$/u.test(inner))
        return {
          parts,
          wrong: {
            at: index + 1,
            message: `${found} is no slot`,
            hint: 'Write {lexicon} or {lexicon:tag}, and {{ for a brace.',
          },
        };
      parts.push({ slot: inner });
    } else if (found === '{' || found === '}')
      return { parts, wrong: { at: index + 1, message: `a brace has no counterpart`, hint: 'Write {{ or }} for a brace.' } };
    else parts.push(found === '{{' ? '{' : found === '}}' ? '}' : found);
  }
  return { parts };
}

/** The slots of a text, in their order. */
export const slotsOf = (text: string): string[] => [
  ...new Set(parseTemplate(text).parts.flatMap((part) => (typeof part === 'string' ? [] : [part.slot]))),
];

export const lexiconOf = (slot: string): string => slot.split(':')[0]!;

/** What is wrong with a template, with a position in it; undefined if it can be filled. */
export function templateProblem(text: string, lexicons: Lexicons): { message: string; hint?: string } | undefined {
  const { wrong } = parseTemplate(text);
  if (wrong) return { message: `${wrong.message}, at character ${wrong.at} of the template`, ...(wrong.hint && { hint: wrong.hint }) };
  const counts = new Map<string, number>();
  for (const slot of slotsOf(text)) {
    const name = lexiconOf(slot);
    const values = Object.hasOwn(lexicons, name) ? lexicons[name]! : undefined;
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    const at = text.indexOf(`{${slot}}`) + 1;
    if (!values)
      return {
        message: `the slot {${slot}}, at character ${at} of the template, has no lexicon \`${name}\``,
        hint: hintFor(name, lexicons),
      };
    if (values.length < count)
      return {
        message: `the template has ${count} slots of the lexicon \`${name}\`, which has only ${values.length === 1 ? '1 value' : `${values.length} values`}`,
        hint: 'Slots of one lexicon get different values: add values, or use one slot several times.',
      };
  }
  return undefined;
}

function hintFor(name: string, lexicons: Lexicons): string {
  const known = Object.keys(lexicons);
  const meant = nearest(name, known);
  return meant === undefined ? `Add it to \`lexicons\`. Known: ${known.join(', ')}.` : `Did you mean {${meant}}?`;
}

/** The values of the slots in one case. */
export type Filling = ReadonlyMap<string, string>;

export const fill = (text: string, filling: Filling): string =>
  parseTemplate(text)
    .parts.map((part) => (typeof part === 'string' ? part : filling.get(part.slot)!))
    .join('');

/** How many different fillings the slots have; slots of one lexicon have different values. */
export function countFillings(slots: readonly string[], lexicons: Lexicons): number {
  const used = new Map<string, number>();
  return slots.reduce((product, slot) => {
    const name = lexiconOf(slot);
    const before = used.get(name) ?? 0;
    used.set(name, before + 1);
    return product * (lexicons[name]!.length - before);
  }, 1);
}

/** The filling with this number, from 0. The last slot changes first. */
export function fillingAt(index: number, slots: readonly string[], lexicons: Lexicons): Filling {
  const sizes = slots.map((slot, i) => {
    const before = slots.slice(0, i).filter((other) => lexiconOf(other) === lexiconOf(slot)).length;
    return lexicons[lexiconOf(slot)]!.length - before;
  });
  const places = new Array<number>(slots.length);
  let rest = index;
  for (let i = slots.length - 1; i >= 0; i--) {
    places[i] = rest % sizes[i]!;
    rest = Math.floor(rest / sizes[i]!);
  }
  const filling = new Map<string, string>();
  for (const [i, slot] of slots.entries()) {
    const taken = slots
      .slice(0, i)
      .filter((other) => lexiconOf(other) === lexiconOf(slot))
      .map((other) => filling.get(other)!);
    filling.set(slot, lexicons[lexiconOf(slot)]!.filter((value) => !taken.includes(value))[places[i]!]!);
  }
  return filling;
}

/** `count` different whole numbers below `total`, in ascending order; all of them if there are not more. */
export function sample(total: number, count: number, random: () => number): number[] {
  if (count >= total) return Array.from({ length: total }, (_, i) => i);
  if (total <= 1_000_000)
    return [
      ...shuffle(
        Int32Array.from({ length: total }, (_, i) => i),
        random,
      ).subarray(0, count),
    ].sort((a, b) => a - b);
  const drawn = new Set<number>();
  // Two draws: one has only 32 bits.
  while (drawn.size < count) drawn.add(Math.floor((random() + random() / 2 ** 32) * total));
  return [...drawn].sort((a, b) => a - b);
}
