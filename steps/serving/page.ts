/** The page to try the model in a browser: one HTML document that needs nothing else. */
import type { Bundle } from './bundle.ts';

export function page({ name, labels }: Bundle): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(name)} · tunesmith</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon)}">
<style>${style}</style>
</head>
<body>
<main>
  <header>
    ${icon}
    <div>
      <h1>${escaped(name)}</h1>
      <p>tells ${labels.map((label) => `<b>${escaped(label)}</b>`).join(labels.length === 2 ? ' from ' : ', ')}</p>
    </div>
  </header>
  <form>
    <label for="text">Text</label>
    <textarea id="text" rows="8" placeholder="Paste or type a text …" autofocus></textarea>
    <div class="row">
      <button>Classify</button>
      <span class="hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>
      <output id="took"></output>
    </div>
  </form>
  <section id="result" aria-live="polite" hidden></section>
  <details>
    <summary>The same from a script</summary>
    <pre id="curl"></pre>
  </details>
  <footer>
    <a href="openapi.json">OpenAPI</a> <a href="metrics">Metrics</a> <a href="health">Health</a>
    <span>Served by tunesmith</span>
  </footer>
</main>
<script>${script}</script>
</body>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="40" height="40" aria-hidden="true"><rect width="32" height="32" rx="8" fill="#4f46e5"/><path d="M11 6v9a5 5 0 0 0 10 0V6M16 20v7" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/></svg>`;

const style = `
:root { --ink: #1c1d22; --soft: #63656f; --paper: #f5f5f7; --card: #fff; --line: #dfe0e6; --accent: #4f46e5; --on: #fff; --track: #ececf1; --wrong: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --soft: #9a9ca8; --paper: #131418; --card: #1c1d23; --line: #33353f; --accent: #8b85ff; --on: #14131f; --track: #2a2c35; --wrong: #ff8f85; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 44rem; margin: 0 auto; padding: clamp(1.5rem, 6vh, 4rem) 1.25rem; }
header { display: flex; gap: 1rem; align-items: center; margin-bottom: 1.5rem; }
h1 { margin: 0; font-size: 1.4rem; line-height: 1.2; overflow-wrap: anywhere; }
header p { margin: .15rem 0 0; color: var(--soft); overflow-wrap: anywhere; }
header b { color: var(--ink); font-weight: 600; }
form, #result, details { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.25rem; margin-bottom: 1rem; }
label { display: block; font-weight: 600; margin-bottom: .5rem; }
textarea { width: 100%; resize: vertical; border: 1px solid var(--line); border-radius: 9px; background: var(--paper); color: inherit; font: inherit; padding: .75rem; }
textarea:focus-visible, button:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.row { display: flex; gap: 1rem; align-items: center; margin-top: .85rem; }
button { border: 0; border-radius: 9px; background: var(--accent); color: var(--on); font: inherit; font-weight: 600; padding: .55rem 1.2rem; cursor: pointer; }
button:disabled { opacity: .6; cursor: progress; }
.hint { color: var(--soft); font-size: .85rem; }
kbd { border: 1px solid var(--line); border-radius: 5px; padding: .05rem .35rem; font: inherit; font-size: .8rem; }
#took { margin-left: auto; color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
#result h2 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere; }
#result.wrong { color: var(--wrong); }
dl { display: grid; grid-template-columns: minmax(3rem, max-content) 1fr max-content; gap: .6rem 1rem; align-items: center; margin: 0; }
dt { overflow: hidden; text-overflow: ellipsis; max-width: 14rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; text-align: right; }
.bar { height: .7rem; border-radius: 1rem; background: var(--track); overflow: hidden; }
.bar i { display: block; height: 100%; border-radius: 1rem; background: var(--soft); min-width: 2px; }
dt.best { font-weight: 600; }
.best + .bar i { background: var(--accent); }
summary { cursor: pointer; color: var(--soft); }
pre { margin: .85rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { display: flex; gap: 1.1rem; color: var(--soft); font-size: .85rem; padding: .4rem .25rem; }
footer span { margin-left: auto; }
a { color: inherit; }
`;

const script = `
const find = (id) => document.getElementById(id);
const [form, text, result] = [document.forms[0], find('text'), find('result')];
const make = (name, content, cls) => Object.assign(document.createElement(name), { textContent: content, className: cls ?? '' });
const percent = (p) => (p > 0 && p < 0.0005 ? '< 0.1' : p < 1 && p > 0.9995 ? '> 99.9' : (100 * p).toFixed(1)) + ' %';

function show({ label, scores }) {
  const list = document.createElement('dl');
  const sorted = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  for (const [name, p] of sorted.slice(0, 12)) {
    const bar = make('div', '', 'bar');
    const fill = bar.appendChild(document.createElement('i'));
    fill.style.width = 100 * p + '%';
    list.append(make('dt', name, name === label ? 'best' : ''), bar, make('dd', percent(p)));
  }
  result.className = '';
  result.replaceChildren(make('h2', label), list);
  if (sorted.length > 12) result.append(make('p', 'and ' + (sorted.length - 12) + ' more labels', 'hint'));
}

function fail(message) {
  result.className = 'wrong';
  result.replaceChildren(message);
  find('took').textContent = '';
}

async function classify() {
  const button = form.querySelector('button');
  button.disabled = true;
  const start = performance.now();
  try {
    const response = await fetch('predict', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ inputs: text.value }) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    find('took').textContent = Math.max(1, Math.round(performance.now() - start)) + ' ms';
    show(answer.predictions[0]);
  } catch (error) {
    fail(error instanceof TypeError ? 'The server does not answer. Is it still running?' : error.message);
  } finally {
    result.hidden = false;
    button.disabled = false;
  }
}

function showCurl() {
  const body = JSON.stringify({ inputs: text.value.slice(0, 400) || '…' }).replaceAll("'", "'\\\\''");
  find('curl').textContent = 'curl ' + new URL('predict', location.href) + " -H 'content-type: application/json' \\\\\\n  -d '" + body + "'";
}

form.addEventListener('submit', (event) => { event.preventDefault(); classify(); });
text.addEventListener('keydown', (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); classify(); } });
text.addEventListener('input', showCurl);
showCurl();
`;
