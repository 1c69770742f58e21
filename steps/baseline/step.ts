import { defineStep } from '../../engine/step.ts';

export default defineStep({
  name: 'baseline',
  version: 1,
  description: 'What a classifier must beat: the majority class, and a bag-of-words logistic regression trained on the same split.',
  options: {
    methods: {
      type: 'array',
      items: { enum: ['majority', 'bag_of_words'] },
      minItems: 1,
      uniqueItems: true,
      default: ['majority', 'bag_of_words'],
      description:
        "majority: always the commonest label of the training split. bag_of_words: scikit-learn's TfidfVectorizer and LogisticRegression with their defaults.",
    },
    text: { type: 'string', default: 'text', description: 'The column that is read.' },
    text_pair: { type: 'string', description: 'Of pairs, the column of the second text: the bag holds the words of both.' },
    label: { type: 'string', default: 'label', description: 'The column that is predicted.' },
    split: { type: 'string', default: 'test', description: 'The split that is measured.' },
    metrics: {
      type: 'array',
      items: { enum: ['accuracy', 'precision', 'recall', 'f1', 'macro_precision', 'macro_recall', 'macro_f1', 'mcc'] },
      minItems: 1,
      uniqueItems: true,
      default: ['accuracy', 'macro_f1'],
      description: 'As for evaluate. precision, recall and f1 are for two labels.',
    },
    positive: { type: 'string', description: 'Of two labels the one that precision, recall and f1 are about. Default: the last in order.' },
  },
  optional: ['text_pair', 'positive'],
  inputs: { data: { kind: 'folder', description: "A split step's data." } },
  outputs: { metrics: { kind: 'file', description: 'The metrics of each method, as JSON.' } },
  libraries: ['@duckdb/node-api'],
  async run(context) {
    const { baseline } = await import('./baseline.ts');
    await baseline(context);
  },
});
