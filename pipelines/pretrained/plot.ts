/** Draws learning curves as SVG: a panel for each set, a line with standard errors for each model. */

/** How many labelled examples a model learned from. */
export type Labels = number | 'all';

export interface Curve {
  model: string;
  points: { labels: Labels; mean: number; error: number }[];
}

interface Panel {
  title: string;
  metric: string;
  curves: Curve[];
}

const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP] = [300, 220, 46, 34, 66, 24];
/** Colours that differ for people who see colours differently (Okabe and Ito 2008) and on light and dark pages. */
const COLOURS = ['#999999', '#d55e00', '#0072b2', '#009e73'];

export function plot(panels: Panel[]): string {
  const width = panels.length * (LEFT + WIDTH + GAP);
  const height = TOP + HEIGHT + BOTTOM;
  const legend = panels[0]!.curves.map(({ model }, i) => {
    const x = LEFT + i * 150;
    const y = height - 14;
    return `<path d="M${x} ${y - 4}h22" stroke="${COLOURS[i]}" stroke-width="2"/><text x="${x + 28}" y="${y}">${model}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#777">`,
    ...panels.map((panel, i) => `<g transform="translate(${i * (LEFT + WIDTH + GAP)} 0)">${panelOf(panel)}</g>`),
    ...legend,
    '</svg>\n',
  ].join('\n');
}

function panelOf({ title, metric, curves }: Panel): string {
  const points = curves.flatMap((curve) => curve.points);
  const low = Math.floor(Math.min(...points.map(({ mean, error }) => mean - error)) * 10) / 10;
  const high = Math.ceil(Math.max(...points.map(({ mean, error }) => mean + error)) * 10) / 10;
  const sizes = [...new Set(points.map(({ labels }) => labels))].sort(
    (a, b) => Number(a === 'all') - Number(b === 'all') || Number(a) - Number(b),
  );
  const x = (labels: Labels) => LEFT + (WIDTH * (sizes.indexOf(labels) + 0.5)) / sizes.length;
  const y = (value: number) => TOP + HEIGHT * (1 - (value - low) / (high - low));
  const steps = Array.from({ length: Math.round((high - low) * 10) + 1 }, (_, i) => low + i / 10);
  const lines = steps.map(
    (value) =>
      `<path d="M${LEFT} ${y(value).toFixed(1)}h${WIDTH}" stroke="#999" stroke-opacity=".3"/><text x="${LEFT - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${value.toFixed(1)}</text>`,
  );
  const ticks = sizes.map((labels) => `<text x="${x(labels)}" y="${TOP + HEIGHT + 18}" text-anchor="middle">${labels}</text>`);
  const drawn = curves.map((curve, k) => {
    const path = curve.points.map(({ labels, mean }, i) => `${i === 0 ? 'M' : 'L'}${x(labels)} ${y(mean).toFixed(1)}`).join('');
    const errors = curve.points
      .map(({ labels, mean, error }) => `M${x(labels)} ${y(mean - error).toFixed(1)}V${y(mean + error).toFixed(1)}`)
      .join('');
    return `<path d="${path}${errors}" fill="none" stroke="${COLOURS[k]}" stroke-width="2"/>`;
  });
  return [`<text x="${LEFT}" y="18" font-weight="bold">${title}: ${metric}</text>`, ...lines, ...ticks, ...drawn].join('\n');
}
