/**
 * Bit flips in both databases: every later run either makes the same outputs as a clean run or reports what to do. No
 * wrong fingerprint, hash or metric is ever used.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { engine } from '../run/rig.ts';
import { expectFlipsDetected, FILES, flip, PIPELINE } from './flips.ts';

// More often: test/optional/chaos/flipped.test.ts.
test('flipped bits, 3 times in each database', () => expectFlipsDetected(3));

test('the other commands read damaged records, too', async () => {
  const p = engine(PIPELINE, FILES);
  await p.go();
  await p.go({ set: ['n=4'] });
  const file = p.path('.tunesmith/state.sqlite');
  const bytes = readFileSync(file);
  const commands = [['runs'], ['runs', 'show', '1'], ['runs', 'diff'], ['logs', 'count'], ['explain', 'count']];
  for (const [seed, command] of commands.entries()) {
    for (const side of ['-wal', '-shm']) rmSync(file + side, { force: true });
    writeFileSync(file, flip(bytes, 1000 + seed));
    const { code, screen } = await p.run(...command);
    expect(screen, `${command} ${seed}`).not.toContain('bug of its own');
    expect([0, 1, 2], `${command} ${seed}: ${screen}`).toContain(code);
  }
});
