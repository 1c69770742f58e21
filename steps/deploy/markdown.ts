/** Markdown of the model card. */

export function table(header: string[], rows: string[][]): string {
  // GFM splits cells before it reads code spans. Outside of them, a pipe is escaped already.
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replace(/(?<!\\)((?:\\\\)*)\|/g, '$1\\|')).join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

export const fenced = (language: string, text: string): string => `\`\`\`${language}\n${text}\n\`\`\``;

/** A code span that may contain any characters. */
export const code = (text: string): string => (text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``);

export const plain = (text: string): string => text.replace(/[|\\`*_<>[\]]/g, '\\$&').replace(/\s+/g, ' ');

export const listOf = (names: string[]): string => (names.length === 2 ? names.join(' and ') : names.join(', '));

export const oneOf = (names: string[]): string => (names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${names.at(-1)}` : names.join());
