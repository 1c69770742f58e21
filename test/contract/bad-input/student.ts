/** A student that learns from a teacher. */

export const STEPS = `
steps:
  collect: { uses: collect, with: { files: data.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: student, max_length: 16 } }
`;

export const train = (distill: string, more = '') =>
  `${STEPS}  train: { uses: train, with: { tokens: "\${{ steps.tokenize.tokens }}", model: student${more}, distill: ${distill} } }\n`;
