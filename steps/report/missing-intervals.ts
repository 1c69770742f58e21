/** Why figures that have a value have no interval: folded, with one line for each reason. */

import { listed } from '../ml/models/json.ts';
import { type Block, counted, note } from './document.ts';

export function withoutInterval(noun: string, found: readonly { name: string; why: string }[]): Block[] {
  if (found.length === 0) return [];
  const reasons = [...Map.groupBy(found, ({ why }) => why)];
  return [
    {
      kind: 'folded',
      summary: `${counted(found.length, noun)} without an interval`,
      blocks: reasons.map(([why, own]) =>
        note(
          `${listed(
            own.map(({ name }) => name),
            MOST_NAMES,
          )}: ${why}.`,
        ),
      ),
    },
  ];
}

const MOST_NAMES = 40;
