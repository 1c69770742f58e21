/** Large pipelines with line ends of both kinds. */
import { test } from 'vitest';
import { sameValues } from '../../engine/pipeline/large.ts';

test('values of all forms, with line ends of both kinds', () => sameValues('', ''));
