/**
 * The charts of a report, as SVG elements that Observable Plot draws. Loaded only when a report is made. Lines differ in color and
 * in their dashes; colors are variables of the page.
 */

import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { visible } from './document.ts';
import { COLORS } from './style.ts';

export interface Series {
  name: string;
  points: [x: number, y: number][];
  /** Draws the points too. */
  dots?: boolean;
}

interface Axes {
  x: string;
  y: string;
  /** Both from 0 to 1. */
  unit?: boolean;
  /** Draws the line y = x. */
  diagonal?: boolean;
}

/** On a phone, a picture of this width is scaled down a little, and its texts stay readable. */
const WIDTH = 460;
const DASHES = ['', '7 3', '2 3', '9 3 2 3', '4 4', '1 4'];

export function lineChart(series: Series[], { x, y, unit = false, diagonal = false }: Axes): string {
  const { items, height: top } = legendOf(series.map(({ name }) => name));
  const size = { width: WIDTH, height: (unit ? 420 : 260) + top };
  const marks = series.flatMap(({ points, dots }, i) => [
    Plot.lineY(points, { x: '0', y: '1', stroke: colorOf(i), strokeWidth: 2, strokeDasharray: dashOf(i), curve: 'linear' }),
    ...(dots || points.length === 1 ? [Plot.dot(points, { x: '0', y: '1', fill: colorOf(i), r: 3 })] : []),
  ]);
  const rangeOf = (axis: 0 | 1): Plot.ScaleOptions => {
    if (unit) return { domain: [0, 1] };
    const all = series.flatMap(({ points }) => points.map((point) => point[axis]));
    return { domain: padded(Math.min(...all), Math.max(...all)) };
  };
  return svgOf(
    {
      ...size,
      marginTop: 22 + top,
      marginLeft: 58,
      marginBottom: 40,
      x: { label: x, ...rangeOf(0) },
      y: { label: y, grid: true, ...rangeOf(1), ...(unit ? {} : { nice: true }) },
      marks: [
        ...(diagonal
          ? [
              Plot.line(
                [
                  [0, 0],
                  [1, 1],
                ],
                { stroke: 'var(--faint)', strokeDasharray: '3 4' },
              ),
            ]
          : []),
        ...marks,
      ],
    },
    items,
  );
}

/** Points, and the line y = x. */
export function scatterChart(points: [x: number, y: number][], { x, y }: { x: string; y: string }): string {
  const all = points.flat();
  const domain = padded(Math.min(...all), Math.max(...all));
  return svgOf({
    width: WIDTH,
    height: 440,
    marginLeft: 58,
    marginBottom: 40,
    x: { label: x, domain },
    y: { label: y, domain, grid: true },
    marks: [
      Plot.line(
        domain.map((at) => [at, at]),
        { stroke: 'var(--faint)', strokeDasharray: '3 4' },
      ),
      Plot.dot(points, { x: '0', y: '1', fill: colorOf(0), fillOpacity: 0.6, r: 2.5 }),
    ],
  });
}

/** A range of an axis. A single value is in its middle. */
function padded(low: number, high: number): [number, number] {
  if (low < high) return [low, high];
  const by = Math.abs(low) * 0.1 || 0.5;
  return [low - by, high + by];
}

export interface Bar {
  name: string;
  value: number;
  low?: number | undefined;
  high?: number | undefined;
  /** Drawn in the second color. */
  marked?: boolean;
}

/** Values with their intervals, one below the other. */
export function dotChart(bars: Bar[], label: string): string {
  const names = unique(bars.map(({ name }) => short(name)));
  const rows = bars.map((bar, i) => ({ ...bar, name: names[i]!, low: bar.low ?? bar.value, high: bar.high ?? bar.value }));
  const color = ({ marked }: Bar) => (marked ? colorOf(1) : colorOf(0));
  const { layout, titles, below } = linesFor(names);
  return svgOf({
    ...layout,
    x: {
      label,
      grid: true,
      nice: true,
      domain: padded(Math.min(...rows.map(({ low }) => low)), Math.max(...rows.map(({ high }) => high))),
    },
    marks: [
      Plot.ruleY(rows, { y: 'name', x1: 'low', x2: 'high', stroke: color, strokeWidth: 2, dy: below / 2 }),
      Plot.dot(rows, { y: 'name', x: 'value', fill: color, r: 4, symbol: 'circle', dy: below / 2 }),
      ...titles,
    ],
  });
}

/** A chart with one line for each name, which stands on its left. Long names stand above their lines, which leaves room for the values. */
function linesFor(names: string[]) {
  const longest = Math.max(...names.map((name) => name.length));
  const above = longest > LONGEST_ON_THE_LEFT;
  return {
    layout: {
      width: WIDTH,
      height: 52 + (above ? 36 : 22) * names.length,
      marginLeft: above ? 16 : 24 + CHARACTER * longest,
      marginRight: 24,
      marginBottom: 38,
      y: { label: null, domain: names, ...(above && { axis: null }) },
    },
    titles: above ? [Plot.text(names, { y: identity, text: identity, frameAnchor: 'left', textAnchor: 'start', dy: -9 })] : [],
    /** The height of a name above its line. */
    below: above ? 14 : 0,
  };
}

const identity = (name: string): string => name;

const LONGEST_ON_THE_LEFT = 20;

/** The mean width of a character. */
const CHARACTER = 7;

/** Counts, one bar below the other. */
export function barChart(bars: Bar[], label: string): string {
  const names = unique(bars.map(({ name }) => short(name)));
  const rows = bars.map((bar, i) => ({ ...bar, name: names[i]! }));
  const { layout, titles, below } = linesFor(names);
  const fill = ({ marked }: Bar) => (marked ? colorOf(1) : colorOf(0));
  return svgOf({
    ...layout,
    x: { label, grid: true, zero: true },
    marks: [Plot.barX(rows, { y: 'name', x: 'value', fill, insetTop: 2 + below, insetBottom: 2 }), ...titles],
  });
}

/** Mean score and share of correct predictions of each bin, with the number of rows below. */
export function reliabilityChart(bins: { confidence: number; accuracy: number; rows: number }[]): string {
  const most = Math.max(1, ...bins.map(({ rows }) => rows));
  return svgOf({
    width: WIDTH,
    height: 440,
    marginLeft: 58,
    marginBottom: 40,
    x: { label: 'mean score of the prediction', domain: [0, 1] },
    y: { label: 'share of correct predictions', domain: [0, 1], grid: true },
    marks: [
      Plot.rectY(bins, {
        x1: ({ confidence }) => Math.max(0, confidence - 0.012),
        x2: ({ confidence }) => Math.min(1, confidence + 0.012),
        y: ({ rows }) => (0.2 * rows) / most,
        fill: 'var(--faint)',
        fillOpacity: 0.45,
      }),
      Plot.line(
        [
          [0, 0],
          [1, 1],
        ],
        { stroke: 'var(--faint)', strokeDasharray: '3 4' },
      ),
      Plot.line(bins, { x: 'confidence', y: 'accuracy', stroke: colorOf(0), strokeWidth: 2 }),
      Plot.dot(bins, { x: 'confidence', y: 'accuracy', fill: colorOf(0), r: 4 }),
    ],
  });
}

const colorOf = (i: number): string => `var(--s${(i % 6) + 1})`;
const dashOf = (i: number): string | undefined => DASHES[i % DASHES.length] || undefined;

const short = (name: string): string => {
  const text = visible(name).replace(/\s+/g, ' ');
  return [...text].length > 38 ? `${[...text].slice(0, 37).join('')}…` : text;
};

/** Names are positions of a chart, so two that look the same need a number. */
const unique = (names: string[]): string[] => names.map((name, i) => (names.indexOf(name) === i ? name : `${name} (${i + 1})`));

/** The names of the series in rows above the chart. */
function legendOf(names: string[]): { items: { name: string; x: number; y: number; i: number }[]; height: number } {
  if (names.length < 2) return { items: [], height: 0 };
  let [x, y] = [58, 32]; // below the label of the y-axis
  const items = names.map((name, i) => {
    const text = short(name);
    const width = 34 + CHARACTER * text.length;
    if (x + width > WIDTH && x > 58) [x, y] = [58, y + 17];
    const item = { name: text, x, y, i };
    x += width;
    return item;
  });
  return { items, height: y - 8 };
}

function svgOf(options: Plot.PlotOptions, legend: ReturnType<typeof legendOf>['items'] = []): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({ document, style: { background: 'none' }, ...options } as Plot.PlotOptions) as unknown as SVGSVGElement;
  for (const style of svg.querySelectorAll('style')) style.remove();
  svg.removeAttribute('class');
  const make = (name: string, attributes: Record<string, string | number>) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    svg.appendChild(element as unknown as Node);
    return element;
  };
  for (const { name, x, y, i } of legend) {
    make('line', {
      x1: x,
      x2: x + 24,
      y1: y - 4,
      y2: y - 4,
      stroke: colorOf(i),
      'stroke-width': 2,
      'stroke-dasharray': dashOf(i) ?? 'none',
    });
    make('text', { x: x + 29, y, 'text-anchor': 'start' }).textContent = name;
  }
  return svg.outerHTML;
}

/** Puts elements at the start of a picture. */
export const withTitle = (svg: string, elements: string): string => svg.replace('>', () => `>${elements}`);

/** The same picture as a file of its own, with its colors. */
export const standalone = (svg: string, title: string, description: string, inXml: (text: string) => string): string =>
  withTitle(
    svg.replace(/^<svg(?![^>]*xmlns=)/, '<svg xmlns="http://www.w3.org/2000/svg"'),
    `<title>${inXml(title)}</title><desc>${inXml(description)}</desc><style>:root{${COLORS.light};color:var(--text);background:var(--page)}@media (prefers-color-scheme:dark){:root{${COLORS.dark}}}text{font-size:12px}</style>`,
  );
