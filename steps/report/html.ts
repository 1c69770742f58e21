/**
 * Writes a report as one HTML file: nothing is loaded from elsewhere, and it works without its script. All texts are escaped, and a
 * content security policy allows no other script than its own.
 */

import { createHash } from 'node:crypto';
import {
  type Block,
  count,
  type MarkedPart,
  type Matrix,
  type Picture,
  type Report,
  type Section,
  type ShownExample,
  type Table,
  type TableCell,
  visible,
} from './document.ts';
import { withTitle } from './plots.ts';
import { SCRIPT, STYLE } from './style.ts';

export function htmlOf(report: Report): string {
  const hash = createHash('sha256').update(SCRIPT).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="tunesmith">
<title>${escaped(report.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<a class="skip" href="#${report.sections[0]?.id ?? 'end'}">Skip to the content</a>
<header>
<h1>${data(report.title)}</h1>
${report.about.map((line) => `<p class="about">${data(line)}</p>`).join('\n')}
<nav aria-label="Sections"><ul>${report.sections.map(({ id, title }) => `<li><a href="#${id}">${escaped(title)}</a></li>`).join('')}</ul></nav>
</header>
<main>
${report.sections.map(section).join('\n')}
${report.missing.length > 0 ? section({ id: 'missing', title: 'Not in this report', blocks: report.missing.map((text) => ({ kind: 'note', text })) }) : ''}
</main>
<footer id="end"><p>Made by tunesmith.</p></footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function section({ id, title, blocks }: Section): string {
  return `<section id="${id}" aria-labelledby="${id}-title">\n<h2 id="${id}-title">${escaped(title)}</h2>\n${blocks.map(block).join('\n')}\n</section>`;
}

function block(given: Block): string {
  if (given.kind === 'note') return `<p class="note${given.tone ? ` ${given.tone}` : ''}">${data(given.text)}</p>`;
  if (given.kind === 'folded') return `<details><summary>${data(given.summary)}</summary>${given.blocks.map(block).join('\n')}</details>`;
  if (given.kind === 'heading') return `<h3>${data(given.text)}</h3>`;
  if (given.kind === 'figures')
    return `<dl class="figures">${given.figures
      .map(
        ({ name, value, interval, note }) =>
          `<div><dt>${data(name)}</dt><dd class="value">${escaped(value)}</dd>${interval ? `<dd class="interval">${escaped(interval)}</dd>` : ''}${note ? `<dd class="why">${data(note)}</dd>` : ''}</div>`,
      )
      .join('')}</dl>`;
  if (given.kind === 'table') return table(given);
  if (given.kind === 'matrix') return matrix(given);
  if (given.kind === 'picture') return picture(given);
  const items = given.examples.map(example).join('\n');
  const back = given.id ? '<p class="more back"><a href="#confusion">Back to the counts</a></p>' : '';
  return `<section class="examples"${given.id ? ` id="${given.id}" tabindex="-1"` : ''}><h3>${data(given.heading)}</h3>\n${items}${more(given.more)}${back}</section>`;
}

function table({ caption, header, rows, numeric, more: rest }: Table): string {
  const right = new Set(numeric);
  const heads = header.map((text, c) => `<th scope="col"${right.has(c) ? ' class="n"' : ''}>${data(text)}</th>`).join('');
  const cell = (given: string | TableCell, c: number) => {
    const { text, to, tone, share } = typeof given === 'string' ? ({ text: given } as TableCell) : given;
    const isReason = right.has(c) && text.startsWith('n/a (');
    const classes = [right.has(c) ? 'n' : '', isReason ? 'why' : '', tone ?? '', share === undefined ? '' : 'bar']
      .filter(Boolean)
      .join(' ');
    const inner = to ? `<a href="#${to}">${data(text)}</a>` : data(text);
    const attributes = `${classes ? ` class="${classes}"` : ''}${share === undefined ? '' : ` style="--share:${share.toFixed(3)}"`}`;
    return c === 0 ? `<th scope="row"${attributes}>${inner}</th>` : `<td${attributes}>${inner}</td>`;
  };
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n');
  const links = rows.some((row) => row.some((given) => typeof given !== 'string' && given.to));
  return `<div class="wide" role="group" tabindex="0" aria-label="${escaped(caption)}"><table><caption>${captionOf(caption, links)}</caption><thead><tr>${heads}</tr></thead><tbody>
${body}
</tbody></table></div>${more(rest)}`;
}

/** Only this format has links to examples. */
const captionOf = (caption: string, links: boolean): string =>
  data(links ? `${caption.replace(/\.?$/, '.')} Counts with a link lead to examples.` : caption);

function matrix({ caption, labels, counts, to }: Matrix): string {
  const totals = counts.map((row) => row.reduce((sum, n) => sum + n, 0));
  const heads = labels.map((label) => `<th scope="col">${data(label)}</th>`).join('');
  const body = counts.map((row, r) => {
    const cells = row.map((n, c) => {
      const share = totals[r] ? n / totals[r]! : 0;
      const what = `${visible(labels[r]!)} predicted as ${visible(labels[c]!)}: ${count(n)}`;
      const anchor = to(r, c);
      const inner = anchor ? `<a href="#${anchor}" aria-label="${escaped(what)}, examples">${count(n)}</a>` : count(n);
      return `<td class="n ${r === c ? 'hit' : 'miss'}" style="--share:${share.toFixed(3)}" title="${escaped(what)}">${inner}</td>`;
    });
    return `<tr><th scope="row">${data(labels[r]!)}</th>${cells.join('')}<td class="n total">${count(totals[r]!)}</td></tr>`;
  });
  const links = counts.some((row, r) => row.some((_, c) => to(r, c) !== undefined));
  return `<div class="wide" role="group" tabindex="0" aria-label="${escaped(caption)}"><table class="matrix"><caption>${captionOf(caption, links)}</caption><thead><tr><th scope="col">true \\ predicted</th>${heads}<th scope="col" class="total">rows</th></tr></thead><tbody>
${body.join('\n')}
</tbody></table></div>`;
}

function picture({ name, title, description, svg, closed, table: values }: Picture): string {
  const drawn = closed
    ? `<img src="data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}" alt="${escaped(`${title}. ${description}`)}">`
    : withTitle(
        svg.replace(/^<svg/, `<svg role="img" aria-labelledby="${name}-title ${name}-description"`),
        `<title id="${name}-title">${escaped(title)}</title><desc id="${name}-description">${escaped(description)}</desc>`,
      );
  const shown = values ? `<details><summary>Values as a table</summary>${table(values)}</details>` : '';
  return `<figure id="${name}"><figcaption>${data(title)}</figcaption><div class="wide picture" role="group" tabindex="0" aria-label="${escaped(title)}">${drawn}</div>${shown}</figure>`;
}

function example({ facts, fields, notes }: ShownExample): string {
  const heads = facts.map(([name, value]) => `<div><dt>${data(name)}</dt><dd>${data(value)}</dd></div>`).join('');
  const texts = fields.map(
    ({ name, parts }) =>
      `<p class="text" dir="auto">${name ? `<b class="field">${data(name)}</b> ` : ''}<bdi>${parts.map(part).join('')}</bdi></p>`,
  );
  return `<article class="example"><dl>${heads}</dl>${texts.join('')}${notes.map((text) => `<p class="terms">${data(text)}</p>`).join('')}</article>`;
}

function part({ text, level = 0 }: MarkedPart): string {
  const inner = escaped(text);
  return level === 0 ? inner : `<mark class="${level > 0 ? 'u' : 'd'}${Math.abs(level)}">${inner}</mark>`;
}

const more = (text: string | undefined): string => (text === undefined ? '' : `<p class="more">${data(text)}</p>`);

/** A text of the data: its direction does not affect what is around it. */
const data = (text: string): string => (ISOLATED.test(text) ? `<bdi>${escaped(text)}</bdi>` : escaped(text));

/** Anything that is written from right to left, or changes the direction. */
const ISOLATED = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]|[\ud802\ud803\ud83a\ud83b]/;

function escaped(text: string): string {
  return visible(text).replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}
