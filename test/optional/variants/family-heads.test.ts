/** Each model family for each task against transformers, and with gradient checkpointing. */
import { describe, test } from 'vitest';
import { FAMILIES, sameFromMasked, TASKS, taskTests, trainingTests } from '../../steps/ml/models/family-golden.ts';
import { COMPILED } from '../../steps/ml/runtime/options.ts';

describe.each(FAMILIES)('%s', (family) => trainingTests(family, [[COMPILED, true]]));

describe.each(FAMILIES.slice(1).flatMap((family) => TASKS.map((task) => [family, task] as const)))('%s for %s', (family, task) =>
  taskTests(family, task),
);

test.each(FAMILIES.slice(1))('%s: predicting only masked tokens gives the same as predicting all', sameFromMasked);
