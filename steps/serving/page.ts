/** The web page to try the model: one HTML document without further resources. */

import { createHash } from 'node:crypto';
import type { Bundle } from '../ml/answering/bundle.ts';
import { isGenerating } from '../ml/models/config.ts';
import { taskKind } from '../ml/tasks/registry.ts';

interface PageOptions {
  /** The maximum number of tokens that the server lets a model generate. */
  newTokens: number;
  /** Requests need an API key, for which the page then asks. It tells no more than /health, which needs no key either. */
  needsKey: boolean;
}

/** The page, and the policy (CSP) that lets a browser run only its own script and style, and reach nothing but this server. */
export function page(bundle: Bundle, { newTokens, needsKey }: PageOptions): { html: string; policy: string } {
  const { task } = bundle;
  const code = isGenerating(task) ? `const most = ${Math.min(100, newTokens)};${writing}${script}` : `${answering}${script}`;
  const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  const html = htmlOf(bundle, code, needsKey);
  const policy = `default-src 'none'; style-src ${hash(style)}; script-src ${hash(code)}; connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'`;
  return { html, policy };
}

function htmlOf(bundle: Bundle, code: string, needsKey: boolean): string {
  const { name, task, fields } = bundle;
  const pairs = takesPairs(bundle);
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
      <p>${about(bundle)}</p>
    </div>
  </header>
  <form>
${needsKey ? keyField : ''}${fields
  .filter(({ group }) => !group)
  .map(
    (
      field,
      i,
    ) => `    <label for="${field.name}">${pairs && i === 0 ? 'First text' : LABELS[field.name]}${field.optional ? ' <span class="hint">(optional)</span>' : ''}</label>
    <textarea id="${field.name}" data-field="${field.name}"${field.optional ? ' data-optional' : ''} rows="${field.name === 'question' || (fields.length > 1 && i > 0 && field.optional) ? 2 : 8}" placeholder="${PLACEHOLDERS[field.name]}"${i === 0 && !needsKey ? ' autofocus' : ''}></textarea>`,
  )
  .join('\n')}
${groupField(bundle)}    <div class="row">
      <button>${taskKind(task).page.button}</button>
      <span class="hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>
      <output id="took"></output>
    </div>
  </form>
  <section id="result" aria-live="polite" hidden></section>
  <details>
    <summary>Use it from a script</summary>
    <pre id="curl"></pre>
  </details>
  <footer>
    ${needsKey ? '' : '<a href="openapi.json">OpenAPI</a> <a href="metrics">Metrics</a> '}<a href="health">Health</a>
    <span>Served by tunesmith</span>
  </footer>
</main>
<script>${code}</script>
</body>
</html>
`;
}

/** No browser stores it: the page keeps it for the tab. */
const keyField = `    <label for="key">API key <span class="hint">(kept until this tab is closed)</span></label>
    <input id="key" type="password" autocomplete="off" spellcheck="false" placeholder="Paste your key …">
`;

const LABELS: Record<string, string> = { text: 'Text', text_pair: 'Second text', question: 'Question', context: 'Context' };

const PLACEHOLDERS: Record<string, string> = {
  text: 'Type or paste a text …',
  text_pair: 'Type or paste the second text …',
  question: 'Type a question …',
  context: 'Paste the text that contains the answer …',
};

/** The field of a model with thresholds for each value of a column, with the values that it knows. */
function groupField({ calibration }: Bundle): string {
  if (calibration?.group === undefined) return '';
  const values = Object.keys(calibration.group_thresholds!).map((value) => `<option value="${escaped(value)}"></option>`);
  return `    <label for="group">${escaped(calibration.group)} <span class="hint">(decides the thresholds; may be empty)</span></label>
    <input id="group" data-field="${escaped(calibration.group)}" data-group list="groups" autocomplete="off">
    <datalist id="groups">${values.join('')}</datalist>
`;
}

/** And no single texts. */
const takesPairs = ({ fields }: Bundle): boolean => fields.some(({ name, optional }) => name === 'text_pair' && !optional);

function about(bundle: Bundle): string {
  const { task, problem, labels } = bundle;
  const names = (list: string[], conjunction: string) => {
    const each = list.map((label) => `<b>${escaped(label)}</b>`);
    return each.length > 1 ? `${each.slice(0, -1).join(', ')} ${conjunction} ${each.at(-1)}` : each.join('');
  };
  return taskKind(task).page.title({ problem, labels, texts: takesPairs(bundle) ? 'a pair of texts' : 'a text', names });
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
header svg { flex: none; }
header b { color: var(--ink); font-weight: 600; }
form, #result, details { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.25rem; margin-bottom: 1rem; }
label { display: block; font-weight: 600; margin-bottom: .5rem; }
textarea, input { width: 100%; resize: vertical; border: 1px solid var(--line); border-radius: 9px; background: var(--paper); color: inherit; font: inherit; padding: .75rem; }
textarea:focus-visible, input:focus-visible, button:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.row { display: flex; gap: 1rem; align-items: center; margin-top: .85rem; }
button { border: 0; border-radius: 9px; background: var(--accent); color: var(--on); font: inherit; font-weight: 600; padding: .55rem 1.2rem; cursor: pointer; white-space: nowrap; }
button:disabled { opacity: .6; cursor: progress; }
.hint { color: var(--soft); font-size: .85rem; }
kbd { border: 1px solid var(--line); border-radius: 5px; padding: .05rem .35rem; font: inherit; font-size: .8rem; }
#took { margin-left: auto; color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
#result h2 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere; }
#result h2 + .hint { margin: -.75rem 0 0; }
#result * + h2 { margin-top: 1.25rem; }
#result.wrong { color: var(--wrong); }
dl { display: grid; grid-template-columns: minmax(3rem, max-content) 1fr max-content; gap: .6rem 1rem; align-items: center; margin: 0; }
dt { overflow: hidden; text-overflow: ellipsis; max-width: 14rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; text-align: right; }
.bar { height: .7rem; border-radius: 1rem; background: var(--track); overflow: hidden; }
.bar i { display: block; height: 100%; border-radius: 1rem; background: var(--soft); min-width: 2px; }
dt.best { font-weight: 600; }
.marked { white-space: pre-wrap; overflow-wrap: anywhere; margin: .75rem 0 0; }
.marked:first-child { margin: 0; }
mark { box-decoration-break: clone; -webkit-box-decoration-break: clone; background: color-mix(in srgb, var(--accent) 22%, transparent); color: inherit; border-radius: 5px; padding: .05rem .25rem; }
mark b { margin-left: .35rem; font-size: .7rem; letter-spacing: .04em; color: var(--accent); }
textarea + label, input + label { margin-top: .85rem; }
.best + .bar i { background: var(--accent); }
summary { cursor: pointer; color: var(--soft); }
pre { margin: .85rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; color: var(--soft); font-size: .85rem; padding: .4rem .25rem; }
footer span { margin-left: auto; white-space: nowrap; }
@media (pointer: coarse), (max-width: 28rem) { .row .hint { display: none; } }
a { color: inherit; }
`;

const script = `
const find = (id) => document.getElementById(id);
const [form, result] = [document.forms[0], find('result')];
const fields = [...document.querySelectorAll('[data-field]')];
const key = find('key');
const make = (name, content, cls) => Object.assign(document.createElement(name), { textContent: content, className: cls ?? '' });
const percent = (p) => (p > 0 && p < 0.0005 ? '< 0.1' : p < 1 && p > 0.9995 ? '> 99.9' : (100 * p).toFixed(1)) + ' %';

function bars(scores, chosen) {
  const list = document.createElement('dl');
  const sorted = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  for (const [name, p] of sorted.slice(0, 12)) {
    const bar = make('div', '', 'bar');
    const fill = bar.appendChild(document.createElement('i'));
    fill.style.width = 100 * p + '%';
    list.append(make('dt', name, chosen.includes(name) ? 'best' : ''), bar, make('dd', percent(p)));
  }
  return sorted.length > 12 ? [list, make('p', 'and ' + (sorted.length - 12) + ' more labels', 'hint')] : [list];
}

/** The text with its pieces marked. */
function marked(text, pieces) {
  const shown = make('p', '', 'marked');
  let at = 0;
  for (const { start, end, entity } of pieces) {
    shown.append(text.slice(at, start));
    const mark = shown.appendChild(make('mark', text.slice(start, end)));
    if (entity) mark.append(make('b', entity));
    at = end;
  }
  shown.append(text.slice(at));
  return shown;
}

function show(answer) {
  result.className = '';
  result.replaceChildren(...parts(answer));
}

function parts(answer) {
  const value = (id) => find(id).value;
  if ('label' in answer) return [make('h2', answer.label), ...bars(answer.scores, [answer.label])];
  if ('labels' in answer) return [make('h2', answer.labels.join(', ') || 'None of the labels'), ...bars(answer.scores, answer.labels)];
  if ('entities' in answer) return answer.entities.length ? [marked(value('text'), answer.entities)] : [make('p', 'No entities found.')];
  if ('fill' in answer) return answer.fill.flatMap(({ token, score }) => [make('h2', token), make('p', percent(score), 'hint')]);
  if ('answer' in answer) return answer.answer
    ? [make('h2', answer.answer), make('p', percent(answer.score), 'hint'), marked(value('context'), [answer])]
    : [make('h2', 'No answer in the text'), make('p', percent(answer.score), 'hint')];
  return [make('h2', String(answer.score ?? JSON.stringify(answer.scores)))];
}

function fail(message) {
  result.className = 'wrong';
  result.replaceChildren(message);
  find('took').textContent = '';
}

function authorization() {
  const given = key?.value.trim();
  if (!given) return {};
  if (/[^\\x21-\\x7e]/.test(given)) throw new Error('The API key contains a space, or a character that a key cannot have.');
  return { authorization: 'Bearer ' + given };
}

async function problemOf(response) {
  if (response.status === 401) {
    key?.focus();
    return key?.value ? 'The server does not know this API key. Check it, or ask for a new one.' : 'Enter your API key: the server answers only with one.';
  }
  if (response.status === 429) {
    const seconds = Number(response.headers.get('retry-after')) || 1;
    return 'Too many requests. Try again in ' + (seconds === 1 ? 'a second.' : seconds + ' seconds.');
  }
  const { error } = await response.json().catch(() => ({}));
  return error?.message ?? 'The server refuses the request with status ' + response.status + '.';
}

async function ask() {
  const button = form.querySelector('button');
  button.disabled = true;
  const start = performance.now();
  try {
    const headers = { 'content-type': 'application/json', ...authorization() };
    const response = await send({ method: 'POST', headers, body: JSON.stringify(request((text) => text)) });
    if (!response.ok) throw new Error(await problemOf(response));
    await answer(response, () => Math.max(1, Math.round(performance.now() - start)) + ' ms');
  } catch (error) {
    fail(error instanceof TypeError ? 'The server does not answer. Is it still running?' : error.message);
  } finally {
    result.hidden = false;
    button.disabled = false;
  }
}

function showCurl() {
  const body = JSON.stringify(request((text) => text.slice(0, 400) || '…')).replaceAll("'", "'\\\\''");
  const authorized = key ? " -H 'authorization: Bearer KEY'" : '';
  find('curl').textContent = command + authorized + " -H 'content-type: application/json' \\\\\\n  -d '" + body + "'";
}

form.addEventListener('submit', (event) => { event.preventDefault(); ask(); });
for (const field of fields) {
  field.addEventListener('keydown', (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); } });
  field.addEventListener('input', showCurl);
}
showCurl();
if (key) {
  key.value = sessionStorage.getItem('tunesmith-key') ?? '';
  key.addEventListener('input', () => sessionStorage.setItem('tunesmith-key', key.value));
  (key.value ? fields[0] : key).focus();
}
`;

/** The response of POST /predict, as a whole. */
const answering = `
const command = 'curl ' + new URL('predict', location.href);
const send = (options) => fetch('predict', options);

function request(shown) {
  const given = fields.filter((field) => field.value || !('optional' in field.dataset)).map((field) => [field.dataset.field, 'group' in field.dataset && !field.value ? null : shown(field.value)]);
  return { inputs: given.length === 1 && given[0][0] === 'text' ? given[0][1] : Object.fromEntries(given) };
}

async function answer(response, took) {
  const { predictions } = await response.json();
  find('took').textContent = took();
  show(predictions[0]);
}
`;

/** The text of POST /generate, streamed. */
const writing = `
const command = 'curl -N ' + new URL('generate', location.href);
const send = (options) => fetch('generate', options);

function request(shown) {
  return { prompt: shown(find('text').value), stream: true, max_new_tokens: most };
}

async function answer(response, took) {
  const text = make('p', '', 'marked');
  result.className = '';
  result.replaceChildren(text);
  result.hidden = false;
  let waiting = '';
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (waiting + read.value).split('\\n\\n');
    waiting = events.pop();
    for (const event of events) {
      const [name, data] = event.split('\\n').map((line) => line.slice(line.indexOf(': ') + 2));
      const value = JSON.parse(data);
      if (name === 'piece') text.append(value.piece);
      if (name === 'error') throw new Error(value.error.message);
      if (name === 'end') find('took').textContent = value.texts[0].tokens.length + ' tokens, ' + took();
    }
  }
}
`;
