/**
 * A model's decoder as programs for a runtime: one graph each, for all sizes. Their inputs and outputs are described
 * in family.ts.
 */
import type { Axes, Program } from '../runtime/runtime.ts';
import type { Config, Family } from './family.ts';

export interface Decoding {
  cache: { layers: number; heads: number; width: number };
  /** For encoder-decoders. */
  encode?: { program: Program; axes: Axes };
  decode: { program: Program; axes: Axes };
}

/** Undefined for a family that does not generate. */
export function decodingOf<C extends Config>({ family, config }: { family: Family<C>; config: C }): Decoding | undefined {
  const { decoder } = family;
  if (!decoder) return undefined;
  const { encode } = decoder;
  const cache = decoder.cache(config);
  const { heads, layers, width } = cache;
  const [tokens, source] = [
    ['batch', 'tokens'],
    ['batch', 'source'],
  ];
  const axes: Record<string, readonly (string | number)[]> = {
    input_ids: tokens,
    attention_mask: tokens,
    position_ids: tokens,
    past_mask: ['batch', 'slots'],
    encoder_attention_mask: source,
  };
  for (let layer = 0; layer < layers; layer++)
    for (const kind of ['key', 'value']) {
      axes[`past_${kind}.${layer}`] = ['batch', heads, 'slots', width];
      axes[`cross_${kind}.${layer}`] = ['batch', heads, 'source', width];
    }
  return {
    cache,
    ...(encode && {
      encode: {
        program: (weights, inputs) => encode(config, weights, inputs),
        axes: { input_ids: source, attention_mask: source },
      },
    }),
    decode: { program: (weights, inputs) => decoder.decode(config, weights, inputs), axes },
  };
}
