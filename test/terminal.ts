/**
 * A terminal, as far as a test needs one: `TERMINAL` makes a child believe that it writes to one of that size, and
 * `screenOf` plays back what it wrote.
 */
import { writeFileSync } from 'node:fs';
import type { Project } from './rig.ts';

/** Environment for a command that shall find a terminal of that size. */
export function terminal(p: Project, columns: number, rows: number): Record<string, string> {
  const preload = p.path('terminal.mjs');
  writeFileSync(
    preload,
    `for (const s of [process.stdout, process.stderr]) Object.assign(s, { isTTY: true, columns: ${columns}, rows: ${rows} });\n`,
  );
  return { NODE_OPTIONS: `--import=file://${preload}`, TERM: 'xterm-256color' };
}

export interface Screen {
  /** All lines, those that scrolled away as well. */
  lines: string[];
  /** Whether a line ever went beyond the right edge. */
  wrapped: boolean;
  cursorHidden: boolean;
}

export function screenOf(output: string, columns: number, rows: number): Screen {
  const lines: string[][] = [[]];
  let [x, y] = [0, 0];
  let [wrapped, cursorHidden] = [false, false];
  const line = () => (lines[y] ??= []);
  const down = () => {
    y++;
    line();
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal is driven by them
  for (const [token] of output.matchAll(/\x1b\[\??[\d;]*[A-Za-z]|\x1b.|[\s\S]/gu)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
    const [, mode, digits = '', final] = /^\x1b\[(\??)([\d;]*)([A-Za-z])$/.exec(token) ?? [];
    const n = Number(digits || 1);
    if (final === undefined) {
      if (token === '\n') [x] = [0, down()];
      else if (token === '\r') x = 0;
      else if (!token.startsWith('\x1b')) {
        if (x >= columns) {
          wrapped = true;
          x = 0;
          down();
        }
        line()[x++] = token;
      }
    } else if (mode === '?' && digits === '25') cursorHidden = final === 'l';
    else if (final === 'A') y = Math.max(y - n, Math.max(0, lines.length - rows));
    else if (final === 'B') y = Math.min(y + n, lines.length - 1);
    else if (final === 'G') x = n - 1;
    else if (final === 'K' && digits === '2') lines[y] = [];
    else if (final === 'K') line().length = Math.min(line().length, x);
    else if (final === 'J') {
      line().length = Math.min(line().length, x);
      lines.length = y + 1;
    } else if (final !== 'm') throw new Error(`an escape that this terminal does not know: ${JSON.stringify(token)}`);
  }
  const text = lines.map((cells) =>
    Array.from(cells, (cell) => cell ?? ' ')
      .join('')
      .trimEnd(),
  );
  while (text.at(-1) === '') text.pop();
  return { lines: text, wrapped, cursorHidden };
}
