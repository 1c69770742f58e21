/**
 * Exports generating models as ONNX files with a KV cache. Names and layout are those of Hugging Face's optimum, so that its users'
 * programs and transformers.js read them: `model` for a decoder, `encoder_model` and `decoder_model_merged` for an encoder-decoder.
 */

import { exportOnnx } from '../runtime/onnx/export.ts';
import type { OnnxFiles, Quantization } from '../runtime/quantization.ts';
import type { Axes, Program } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import type { DecoderDefinition } from './family.ts';
import type { Model } from './model-folder.ts';

type Tensors = Record<string, tf.Tensor>;

/** The ONNX files of a generating model. */
export function generatingOnnx({ family, config, weights }: Model, quantize?: Quantization): OnnxFiles {
  const definition = family.decoder!;
  const { encode } = definition;
  const exported = ({ program, ...options }: Exported) => exportOnnx(program, weights, { ...options, quantize });
  if (!encode) return { model: exported(decoderAlone(definition, config)) };
  const encoder = {
    program: (weights, inputs) => ({ last_hidden_state: encode(config, weights, inputs) }),
    inputs: { input_ids: SOURCE, attention_mask: SOURCE },
    outputs: ['last_hidden_state'],
  } satisfies Exported;
  return { encoder_model: exported(encoder), decoder_model_merged: exported(decoderOfEncoder(definition, config)) };
}

/** A program with what `exportOnnx` needs to know about it. */
interface Exported {
  program: Program;
  inputs: Axes;
  floats?: ReadonlySet<string>;
  derived?: string[];
  outputs: string[];
}

const PAST = 'past_sequence_length';
const TOKENS = ['batch_size', 'sequence_length'];
const TOTAL = `${PAST} + sequence_length`;
const SOURCE = ['batch_size', 'encoder_sequence_length'];
const PAST_SOURCE = 'past_encoder_sequence_length';

/** All tokens so far are in `attention_mask`; the caller numbers the new ones. */
function decoderAlone(definition: DecoderDefinition, config: any): Exported {
  const { layers, heads, width } = definition.cache(config);
  const names = layerNames(layers);
  return {
    program(weights, inputs) {
      const { input_ids, attention_mask, position_ids } = inputs;
      const sizes = [pastOf(inputs, 'past_key_values.0.key'), input_ids!.shape[1]!];
      const [past_mask, own] = tf.split(attention_mask!, sizes, 1) as [tf.Tensor, tf.Tensor];
      const given: Tensors = { input_ids: input_ids!, position_ids: position_ids!, attention_mask: own, past_mask };
      for (const { layer, kind } of names) given[`past_${kind}.${layer}`] = inputs[`past_key_values.${layer}.${kind}`]!;
      const { logits, ...fresh } = definition.decode(config, weights, given, true);
      return { logits: logits!, ...presents(inputs, fresh, names, '') };
    },
    inputs: {
      input_ids: TOKENS,
      attention_mask: ['batch_size', TOTAL],
      position_ids: TOKENS,
      ...Object.fromEntries(names.map(({ layer, kind }) => [`past_key_values.${layer}.${kind}`, ['batch_size', heads, PAST, width]])),
    },
    floats: new Set(names.map(({ layer, kind }) => `past_key_values.${layer}.${kind}`)),
    derived: [TOTAL],
    outputs: ['logits', ...names.map(({ layer, kind }) => `present.${layer}.${kind}`)],
  };
}

/**
 * optimum merges two graphs, one for the first tokens and one for later ones, which the input `use_cache_branch` selects. Here one
 * graph does both: keys and values of the encoder's states are computed for those states that are not in the cache, which are all
 * or none.
 */
function decoderOfEncoder(definition: DecoderDefinition, config: any): Exported {
  const { layers, heads, width } = definition.cache(config);
  const names = layerNames(layers);
  const both = ['decoder', 'encoder'].flatMap((of) => names.map(({ layer, kind }) => ({ of, name: `${layer}.${of}.${kind}` })));
  return {
    program(weights, inputs) {
      const { input_ids, encoder_hidden_states, encoder_attention_mask } = inputs;
      const past = pastOf(inputs, 'past_key_values.0.decoder.key');
      const [batch, tokens] = input_ids!.shape as [number, number];
      const [, own] = tf.split(tf.range(0, past + tokens, 1, 'int32'), [past, tokens]) as [tf.Tensor, tf.Tensor]; // [T]
      const given: Tensors = {
        input_ids: input_ids!,
        position_ids: tf.add(tf.zerosLike(input_ids!), own), // [B, T]
        attention_mask: tf.onesLike(input_ids!),
        past_mask: tf.ones([batch, past], 'int32'),
        encoder_attention_mask: encoder_attention_mask!,
      };
      const known = pastOf(inputs, 'past_key_values.0.encoder.key');
      const [, source, hidden] = encoder_hidden_states!.shape as [number, number, number];
      const unknown = tf.slice(encoder_hidden_states!, [0, known, 0], [batch, source - known, hidden]);
      const cross = definition.cross!(config, weights, unknown);
      const read: Tensors = {};
      for (const { layer, kind } of names) {
        given[`past_${kind}.${layer}`] = inputs[`past_key_values.${layer}.decoder.${kind}`]!;
        const name = `${layer}.encoder.${kind}`;
        read[`present.${name}`] = tf.concat([inputs[`past_key_values.${name}`]!, cross[`cross_${kind}.${layer}`]!], 2);
        given[`cross_${kind}.${layer}`] = read[`present.${name}`]!;
      }
      const { logits, ...fresh } = definition.decode(config, weights, given, true);
      return { logits: logits!, ...presents(inputs, fresh, names, 'decoder.'), ...read };
    },
    inputs: {
      input_ids: TOKENS,
      encoder_attention_mask: SOURCE,
      encoder_hidden_states: [...SOURCE, config.d_model],
      ...Object.fromEntries(
        both.map(({ of, name }) => [`past_key_values.${name}`, ['batch_size', heads, of === 'decoder' ? PAST : PAST_SOURCE, width]]),
      ),
    },
    floats: new Set(['encoder_hidden_states', ...both.map(({ name }) => `past_key_values.${name}`)]),
    derived: [TOTAL, `encoder_sequence_length - ${PAST_SOURCE}`],
    outputs: ['logits', ...both.map(({ name }) => `present.${name}`)],
  };
}

const layerNames = (layers: number) =>
  Array.from({ length: layers }, (_, layer) => ['key', 'value'].map((kind) => ({ layer, kind }))).flat();

/** The tokens whose keys are in the cache. */
const pastOf = (inputs: Tensors, name: string): number => inputs[name]!.shape[2]!;

/** The keys and values of all tokens: those of the cache, and after them the new ones. */
function presents(inputs: Tensors, fresh: Tensors, names: ReturnType<typeof layerNames>, of: string): Tensors {
  return Object.fromEntries(
    names.map(({ layer, kind }) => [
      `present.${layer}.${of}${kind}`,
      tf.concat([inputs[`past_key_values.${layer}.${of}${kind}`]!, fresh[`${kind}.${layer}`]!], 2),
    ]),
  );
}
