/** What the log and the screen are told while a cell's inputs are fetched. */
import type { Cell } from '../pipeline/pipeline.ts';
import type { Work } from '../sources/work.ts';
import type { Surroundings } from './execute.ts';
import type { CellLog } from './log.ts';

export function fetching({ name: cell }: Cell, log: CellLog, { emit }: Surroundings, signal: AbortSignal): Work {
  const began = performance.now();
  let [done, total, came, next] = [0, 0, 0, 0];
  return {
    signal,
    say: (message) => log.line('step', message),
    expect(bytes, files) {
      total += bytes;
      const size = bytes < 1e5 ? 'under 0.1 MB' : `${(bytes / 1e6).toFixed(1)} MB`;
      log.line('step', `fetching ${files === 1 ? 'a file' : `${files} files`}, ${size}`);
    },
    onBytes(count) {
      done += count;
      came += count;
      const now = performance.now();
      if (now < next && done !== total) return;
      next = now + 50;
      const rate = came / 1e6 / Math.max(0.001, (now - began) / 1000);
      emit({ type: 'progress', cell, done, total, values: { 'MB/s': Math.round(rate * 10) / 10 } });
    },
    onWait: (pid) => {
      if (pid !== process.pid) log.line('step', `process ${pid} is fetching the same: waiting for it`);
    },
  };
}
