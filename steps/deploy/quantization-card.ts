/** The part of the model card about quantization.json. */

import { code, table } from './markdown.ts';
import { differenceInWords, figureInWords, megabytes, type QuantizationReport } from './quantized.ts';

export function aboutQuantization(
  { quantize, file, bytes, float32_bytes, change }: QuantizationReport,
  { evaluated }: { evaluated: boolean },
): string[] {
  const stored = quantize === 'int8' ? 'in 8 bits, and its products are computed in 8 bits' : 'in 16 bits';
  return [
    '## Quantization',
    `${code(file)} stores the weights ${stored}: ${megabytes(bytes)} instead of ${megabytes(float32_bytes)} in float32. ${code('tunesmith serve')} and ${code('predict')} use it.${quantize === 'int8' ? ` ${code('model.safetensors')}, which transformers reads, is not quantized.` : ''}${evaluated ? ' The results above are those of the model before.' : ''}`,
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
