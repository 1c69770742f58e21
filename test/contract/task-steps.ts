/** Rows of several tasks, and the steps from rows to a bundle. */
export const NAMES = ['anna', 'bert', 'carl', 'dora', 'emil', 'fred'];

export const CITIES = ['paris', 'london', 'oslo', 'rome'];

export const every = <T>(count: number, make: (name: string, city: string, i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(NAMES[i % 6]!, CITIES[(i * 7) % 4]!, i));

export const entities = every(160, (name, city, i) => ({
  tokens: i % 2 ? [name, 'smith', 'went', 'to', city, '.'] : ['in', city, 'lived', name],
  tags: i % 2 ? ['B-PER', 'I-PER', 'O', 'O', 'B-LOC', 'O'] : ['O', 'B-LOC', 'O', 'B-PER'],
}));

/** An emoji before the answer, which is one character in SQuAD and two in JavaScript. */
export const questions = every(160, (name, city, i) => {
  const context = `😀 ${name} lived in ${city} .`;
  const asked = (i + Math.floor(i / 4)) % 4;
  const answer = asked === 0 ? city : asked === 1 ? name : undefined;
  return {
    question: ['where', 'who', 'when', 'why'][asked]!,
    context,
    answers: answer
      ? { text: [answer], answer_start: [[...context.slice(0, context.indexOf(answer))].length] }
      : { text: [], answer_start: [] },
  };
});

/** The steps of one task, whose names end in its name. */
export const steps = (name: string, model: string, { tokenize, train }: Options) => `
  collect-${name}: { uses: collect, with: { files: ${name}.jsonl } }
  split-${name}: { uses: split, with: { data: "\${{ steps.collect-${name}.data }}", key: [id] } }
  tokenize-${name}: { uses: tokenize, with: { data: "\${{ steps.split-${name}.data }}", model: ${model}, max_length: 24, ${tokenize} } }
  train-${name}:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize-${name}.tokens }}", model: ${model}, seed: 1, ${train} }
  test-${name}:
    uses: evaluate
    resources: { cpu: 1 }
    with: { model: "\${{ steps.train-${name}.model }}", tokens: "\${{ steps.tokenize-${name}.tokens }}", data: "\${{ steps.split-${name}.data }}" }
  deploy-${name}: { uses: deploy, resources: { cpu: 1 }, with: { model: "\${{ steps.train-${name}.model }}", metrics: "\${{ steps.test-${name}.metrics }}" } }
`;

export interface Options {
  tokenize: string;
  train: string;
}

/** Small models learn with a high rate. Pairs need a larger one, which has to compare words. */
export const SMALL = { hidden_size: 32, num_hidden_layers: 1, intermediate_size: 64, max_position_embeddings: 32, initializer_range: 0.1 };

export const linesOf = (rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
