/** Colours where they are wanted: NO_COLOR and FORCE_COLOR decide, else whether a terminal is at the other end. */
import pico from 'picocolors';

export function colorsFor(stream: { isTTY?: boolean }): ReturnType<typeof pico.createColors> {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (FORCE_COLOR !== undefined) return pico.createColors(FORCE_COLOR !== '0' && FORCE_COLOR !== 'false');
  return pico.createColors(!NO_COLOR && stream.isTTY === true && TERM !== 'dumb');
}

export type Colors = ReturnType<typeof colorsFor>;
