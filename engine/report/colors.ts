/** Terminal colours. NO_COLOR and FORCE_COLOR turn them off and on; otherwise they are on if the stream is a terminal. */
import pico from 'picocolors';

export function colorsFor(stream: { isTTY?: boolean }): ReturnType<typeof pico.createColors> {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (FORCE_COLOR !== undefined) return pico.createColors(FORCE_COLOR !== '0' && FORCE_COLOR !== 'false');
  return pico.createColors(!NO_COLOR && stream.isTTY === true && TERM !== 'dumb');
}

export type Colors = ReturnType<typeof colorsFor>;
