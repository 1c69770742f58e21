/** Reports downloads of a cell's inputs to the log and the screen. */
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
      log.line('step', `downloading ${files === 1 ? '1 file' : `${files} files`}, ${size}`);
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
      if (pid !== process.pid) log.line('step', `waiting for process ${pid}, which is downloading the same files`);
    },
  };
}
