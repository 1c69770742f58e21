/** Writes a report as Markdown for a pull request, with its pictures as SVG files. All texts of the data are escaped. */

import type { Block, Report, ShownExample, Table, TableCell } from './document.ts';
import { count, visible } from './document.ts';
import { standalone } from './plots.ts';

export interface MarkdownFiles {
  text: string;
  /** By file name. */
  pictures: Map<string, string>;
}

/** `folder`: of the pictures, relative to the Markdown file. */
export function markdownOf(report: Report, folder: string): MarkdownFiles {
  const pictures = new Map<string, string>();
  const lines = [
    `# ${data(report.title)}`,
    '',
    ...report.about.flatMap((line) => [data(line), '']),
    ...report.sections.flatMap(({ title, blocks }) => [`## ${data(title)}`, '', ...blocks.flatMap((one) => block(one, pictures, folder))]),
    ...(report.missing.length > 0 ? ['## Not in this report', '', ...report.missing.map((text) => `- ${data(text)}`), ''] : []),
  ];
  return { text: `${lines.join('\n').trimEnd()}\n`, pictures };
}

function block(given: Block, pictures: Map<string, string>, folder: string): string[] {
  switch (given.kind) {
    case 'note':
      return [given.tone === 'bad' ? `⚠️ ${data(given.text)}` : given.tone === 'good' ? `✅ ${data(given.text)}` : data(given.text), ''];
    case 'folded':
      return folded(
        data(given.summary),
        given.blocks.flatMap((one) => block(one, pictures, folder)),
      );
    case 'heading':
      return [`### ${data(given.text)}`, ''];
    case 'figures':
      return tableLines({
        header: ['metric', 'value'],
        rows: given.figures.map(({ name, value, interval, note }) => [
          name,
          `**${data(value)}**${interval ? ` ${data(interval)}` : ''}${note ? ` (${data(note)})` : ''}`,
        ]),
        numeric: [1],
        raw: 1,
      });
    case 'table':
      return captioned(given);
    case 'matrix': {
      const totals = given.counts.map((row) => row.reduce((sum, n) => sum + n, 0));
      return [
        data(given.caption),
        '',
        ...tableLines({
          header: ['true \\ predicted', ...given.labels, 'rows'],
          rows: given.counts.map((row, r) => [
            given.labels[r]!,
            ...row.map((n, c) => (r === c && n > 0 ? `**${count(n)}**` : count(n))),
            count(totals[r]!),
          ]),
          numeric: [...given.labels.map((_, i) => i + 1), given.labels.length + 1],
          raw: 1,
        }),
      ];
    }
    case 'picture': {
      const file = `${given.name}.svg`;
      pictures.set(file, given.closed ? given.svg : standalone(given.svg, given.title, given.description, xml));
      return [
        `**${data(given.title)}**`,
        '',
        `![${data(`${given.title}. ${given.description}`).replaceAll('\n', ' ')}](${folder}/${file})`,
        '',
        ...(given.table ? folded('Values as a table', captioned(given.table)) : []),
      ];
    }
    case 'examples':
      return [
        `### ${data(given.heading)}`,
        '',
        ...folded(`${given.examples.length} ${given.examples.length === 1 ? 'example' : 'examples'}`, given.examples.flatMap(example)),
        ...(given.more ? [`_${data(given.more)}_`, ''] : []),
      ];
  }
}

const folded = (summary: string, lines: string[]): string[] => [
  '<details>',
  `<summary>${summary}</summary>`,
  '',
  ...lines,
  '</details>',
  '',
];

function captioned({ caption, more, ...table }: Table): string[] {
  return [data(caption), '', ...tableLines(table), ...(more ? [`_${data(more)}_`, ''] : [])];
}

/** `raw`: from this column on, cells are Markdown already. */
function tableLines({
  header,
  rows,
  numeric,
  raw = Number.POSITIVE_INFINITY,
}: Pick<Table, 'header' | 'numeric'> & { rows: (string | TableCell)[][]; raw?: number }): string[] {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const text = (cell: string | TableCell, c: number) => {
    const own = typeof cell === 'string' ? cell : cell.text;
    if (c >= raw) return own;
    return typeof cell !== 'string' && cell.tone ? `**${data(own)}**` : data(own);
  };
  return [
    line(header.map(data)),
    line(header.map((_, c) => (numeric.includes(c) ? '---:' : '---'))),
    ...rows.map((row) => line(row.map(text))),
    '',
  ];
}

function example({ facts, fields, notes }: ShownExample): string[] {
  return [
    `- ${facts.map(([name, value]) => `${data(name)} **${data(value)}**`).join(', ')}`,
    '',
    ...fields.flatMap(({ name, parts }) => [`  > ${name ? `_${data(name)}:_ ` : ''}${data(parts.map(({ text }) => text).join(''))}`, '']),
    ...notes.flatMap((text) => [`  ${data(text)}`, '']),
  ];
}

/** Text of the data on one line; nothing in it is Markdown, HTML, the address of a link, or the code of an emoji. */
function data(text: string): string {
  return visible(text)
    .replace(/\s+/g, ' ')
    .replace(/[&<>"'`*_~[\]()#|\\!@$^{}]|:(?=\S)|^[-+=]|(?<=^\d+)[.)](?= )|(?<=www)\./gi, (character) =>
      KEPT.has(character) ? character : `&#${character.codePointAt(0)};`,
    )
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, (mark) => `\\u${mark.charCodeAt(0).toString(16)}`);
}

/** Harmless in running text, and common. */
const KEPT = new Set(['(', ')', "'", '"', '!', '{', '}']);

const xml = (text: string): string => visible(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
