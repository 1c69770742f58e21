/** A sweep over training options, whose cells share their tokens. */

export const pipeline = (rates: string, batches: string, epochs: number) => `
steps:
  collect: { uses: collect, with: { files: data.jsonl } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2], stratify: label } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, max_length: 16 } }
  train:
    uses: train
    resources: { cpu: 1 }
    matrix: { rate: ${rates}, batch: ${batches} }
    with:
      tokens: \${{ steps.tokenize.tokens }}
      model: model
      epochs: ${epochs}
      learning_rate: \${{ matrix.rate }}
      batch_size: \${{ matrix.batch }}
`;

/** Rows with that many labels, whose words reveal the label. */
export const rows = (...labels: string[]) =>
  Array.from({ length: 30 * labels.length }, (_, i) => {
    const word = ['awful', 'lovely', 'purple', 'the'][i % labels.length]!;
    return `${JSON.stringify({ text: `${word} ${word} day ${i}`, label: labels[i % labels.length] })}\n`;
  }).join('');
