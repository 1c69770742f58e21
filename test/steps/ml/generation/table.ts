/** A decoder whose scores are a table: the one of test/golden/generation.py. */
import type { SearchDecoder, SearchRows } from '../../../../steps/ml/generation/decoder.ts';

export const VOCABULARY = 40;

/** Scores of the token after `last` and the one before it. */
export function tableRow(before: number, last: number): Float32Array {
  return Float32Array.from({ length: VOCABULARY }, (_, token) =>
    token === 0 ? -30 : ((((before * 7919 + last * 104729 + token * 1299709 + 17) * 31337) % 10007) / 10007) * 8 - 4,
  );
}

export function tableDecoder({ context = 1000, steps = [] as number[] } = {}): SearchDecoder {
  return {
    vocabulary: VOCABULARY,
    context,
    async start(prompts) {
      let rows = prompts.map((prompt) => [...prompt]);
      const scores = () => Float32Array.from(rows.flatMap((row) => [...tableRow(row.at(-2) ?? 0, row.at(-1)!)]));
      const result: SearchRows = {
        begun: prompts,
        logits: scores(),
        async advance(parents, tokens) {
          rows = parents.map((parent, i) => [...rows[parent]!, tokens[i]!]);
          result.logits = scores();
          steps.push(rows.length);
        },
        end() {},
      };
      return result;
    },
  };
}
