/** The tokens of a tokenize step: some sequences of each split, decoded, with their labels. */

import { openSplit, readTokensInfo, type Split, type TokensInfo } from '../ml/models/token-dataset.ts';
import { openTokenizer, type Tokenizer } from '../ml/models/tokenizer.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { StoredSequence } from '../ml/tasks/task.ts';
import { more, type Preview } from './part.ts';

/** `limit`: sequences, of all splits together. */
export async function previewTokens(folder: string, limit: number): Promise<Preview[]> {
  const info = await readTokensInfo(folder);
  const splits = Object.entries(info.splits).filter(([, { sequences }]) => sequences > 0);
  const tokenizer = await openTokenizer(folder, { maxLength: info.max_length });
  const lines: string[] = [];
  let shown = 0;
  for (const [i, [name]] of splits.entries()) {
    const room = Math.ceil((limit - shown) / (splits.length - i));
    const examples = await examplesOf(folder, info, name, room, tokenizer);
    shown += examples.length;
    lines.push(...examples.flat());
  }
  const all = splits.reduce((sum, [, { sequences }]) => sum + sequences, 0);
  return [
    { title: titleOf(info), lines, ...more(all - shown, 'sequences') },
    {
      title: 'splits',
      table: {
        header: ['split', 'rows', 'sequences', 'tokens', 'mean length', 'cut'],
        rows: splits.map(([name, { rows, sequences, tokens, truncated }]) => [
          name,
          ...[rows, sequences, tokens].map((count) => count.toLocaleString('en-US')),
          (tokens / sequences).toFixed(1),
          truncated.toLocaleString('en-US'),
        ]),
        numeric: [false, true, true, true, true, true],
      },
    },
  ];
}

function titleOf({ task, labels, max_length, stride }: TokensInfo): string {
  const windows = stride === undefined ? '' : `, stride ${stride}`;
  return `tokens of ${task}, decoded; max_length ${max_length}${windows}${labels.length > 0 ? `; labels ${labels.join(', ')}` : ''}`;
}

/** For each sequence its origin and labels, and below that its text. */
async function examplesOf(folder: string, info: TokensInfo, name: string, room: number, tokenizer: Tokenizer): Promise<string[][]> {
  const split = await openSplit(folder, info, name);
  const found: string[][] = [];
  try {
    let sequence = 0;
    for await (const example of split.examples()) {
      if (found.length >= room) break;
      const stored = storedSequence(split, sequence, info, tokenizer);
      const { ids, decode } = stored;
      const windows = example.sequences ?? 1;
      const { text, target = typeof example.target === 'string' ? example.target : '' } = (await taskKind(info.task).show?.(stored)) ?? {};
      const what = `${name} ${example.id}, ${ids.length} tokens${windows > 1 ? ` (the first of ${windows} windows)` : ''}`;
      found.push([target === '' ? what : `${what} → ${cut(target)}`, `  ${cut(text ?? (await decode(ids)))}`]);
      sequence += windows;
    }
  } finally {
    split.close();
  }
  return found;
}

/** A few lines on the screen are enough. */
const cut = (text: string): string => (text.length > 500 ? `${text.slice(0, 500)}…` : text);

function storedSequence(split: Split, sequence: number, info: TokensInfo, tokenizer: Tokenizer): StoredSequence {
  const values = (column: string): number[] => {
    if (!split.has(column)) return [...(split.values(column, sequence) ?? [])];
    const into = new Int32Array(split.length(sequence, split.kindOf(column)));
    split.read(column, sequence, into, 0);
    return [...into];
  };
  const special = new Set(tokenizer.specialIds);
  const decode = async (ids: number[]): Promise<string> => {
    const parts: string[] = [];
    for (let from = 0; from < ids.length; ) {
      if (special.has(ids[from]!)) {
        parts.push(await tokenizer.decodeToken(ids[from++]!));
        continue;
      }
      let to = from;
      while (to < ids.length && !special.has(ids[to]!)) to++;
      parts.push(await tokenizer.decode(ids.slice(from, to)));
      from = to;
    }
    return parts.join(' ');
  };
  return { ids: values('input_ids'), info, tokenizer, values, decode };
}
