/** The parts of two texts around the first place where they differ, at most `width` characters of each. */
export function excerpts(before: string, after: string, width: number): [before: string, after: string] {
  if (before.length <= width && after.length <= width) return [before, after];
  let same = 0;
  while (same < before.length && before[same] === after[same]) same++;
  let begin = Math.max(0, Math.min(same - Math.floor(width / 3), Math.max(before.length, after.length) - width));
  if (isSecondHalf(before, begin) || isSecondHalf(after, begin)) begin--;
  const part = (text: string) => {
    const end = begin + width - (isSecondHalf(text, begin + width) ? 1 : 0);
    return `${begin > 0 ? '…' : ''}${text.slice(begin, end)}${end < text.length ? '…' : ''}`;
  };
  return [part(before), part(after)];
}

/** Whether the code unit at this place belongs to the same character as the one before it. */
const isSecondHalf = (text: string, place: number): boolean => /[\udc00-\udfff]/.test(text[place] ?? '');
