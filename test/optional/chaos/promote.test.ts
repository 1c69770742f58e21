/** Commands that promote at once, of which some are killed: the history has no gap and no lost promotion, and every bundle is whole. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { contentHash, currentBundle, promotionsOf } from '../../../steps/ml/models/pointer.ts';
import { project } from '../../rig.ts';
import { promotable } from '../../steps/promote/bundles.ts';

test('three commands promote at once, and one of them is killed', { timeout: 600_000 }, async () => {
  const p = project();
  const names = ['a', 'b', 'c'];
  for (const name of names) promotable(name, p.path(name));
  const pointer = p.path('pointer');
  let before = 0;
  for (let round = 0; round < 10; round++) {
    const started = names.map((name) => p.start('promote', name, 'pointer', '--json'));
    await setTimeout(300 + Math.random() * 1500);
    started[round % 3]!.kill('SIGKILL');
    const ended = await Promise.all(started.map(({ done }) => done));
    const all = await promotionsOf(pointer).catch(() => []);
    expect(all.map(({ number }) => number)).toEqual(all.map((_, i) => i + 1));
    // Each success is in the history; the killed command may have promoted too.
    const made = ended.filter(({ code, events }) => code === 0 && events[0].changed).map(({ events }) => events[0].number);
    expect(new Set(made).size).toBe(made.length);
    for (const number of made) expect(all.some((one) => one.number === number)).toBe(true);
    expect(all.length - before).toBeGreaterThanOrEqual(made.length);
    expect(all.length - before).toBeLessThanOrEqual(made.length + 1);
    for (const { code, screen } of ended)
      if (code === 1) expect(screen).toMatch(/another process promoted at the same time, and pointer now names/);
      else expect([0, 137]).toContain(code);
    for (const name of readdirSync(join(pointer, 'bundles')))
      if (!name.startsWith('.')) expect(await contentHash(join(pointer, 'bundles', name))).toBe(name);
    if (all.length > 0) expect(await contentHash(await currentBundle(pointer))).toBe(all.at(-1)!.bundle);
    before = all.length;
  }
});
