/** The part of the model card about quantization.json. */

import { code, listOf, table } from './markdown.ts';
import { differenceInWords, figureInWords, megabytes, type QuantizationReport } from './quantized.ts';

export function aboutQuantization(
  { quantize, file, files = [file], bytes, float32_bytes, change }: QuantizationReport,
  { evaluated, generating }: { evaluated: boolean; generating: boolean },
): string[] {
  const stored = quantize === 'int8' ? 'in 8 bits, and its products are computed in 8 bits' : 'in 16 bits';
  const whoReads =
    generating && quantize === 'fp16'
      ? ` ${code('tunesmith serve')} and ${code('generate')} read the same numbers from ${code('model.safetensors')}.`
      : ` ${code('tunesmith serve')} and ${code(generating ? 'generate' : 'predict')} use ${files.length > 1 ? 'them' : 'it'}.`;
  return [
    '## Quantization',
    `${listOf(files.map(code))} ${files.length > 1 ? 'store' : 'stores'} the weights ${stored}: ${megabytes(bytes)} instead of ${megabytes(float32_bytes)} in float32.${whoReads}${quantize === 'int8' ? ` ${code('model.safetensors')}, which transformers reads, is not quantized.` : ''}${evaluated ? ' The results above are those of the model before.' : ''}`,
    ...(change
      ? [
          `On ${change.rows} rows of the split ${code(change.split)}:`,
          table(
            ['metric', 'float32', quantize, 'change'],
            Object.keys(change.before).map((metric) => [
              metric,
              figureInWords(change.before[metric]),
              figureInWords(change.after[metric]),
              differenceInWords(change, metric),
            ]),
          ),
        ]
      : ['What this changes was not measured.']),
  ];
}
