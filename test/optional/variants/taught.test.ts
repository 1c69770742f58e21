/** Learning from a teacher for more tasks, and with gradient checkpointing. */
import { describe } from 'vitest';
import { COMPILED } from '../../steps/ml/runtime/options.ts';
import { taughtTests } from '../../steps/train/lesson.ts';

describe.each(['text-classification', 'masked-lm'])('for %s', (task) => taughtTests(task, [[COMPILED, true]]));

describe.each(['multi_label_classification', 'regression'])('for %s', (task) =>
  taughtTests(task, [['eager'], [COMPILED], [COMPILED, true]]),
);
