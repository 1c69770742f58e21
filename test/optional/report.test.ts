/**
 * A report in Chromium: each section is there, the console is silent, nothing is requested, and the page is as wide as the screen:
 * light, dark, on a phone and on paper. And the page of a server, which asks for an API key. Needs Chromium: TUNESMITH_TEST_CHROMIUM, or `chromium` in the PATH.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import step from '../../steps/report/step.ts';
import { startServer } from '../../steps/serving/serve.ts';
import { file, HISTORY, METRICS, predictionsOf, randomClassifier } from '../steps/report/material.ts';
import { ranStep } from '../steps/rig.ts';
import { makeBundle, makeModel, remove } from '../steps/serving/bundle.ts';

const chromium = process.env.TUNESMITH_TEST_CHROMIUM ?? 'chromium';
const there = spawnSync(chromium, ['--version']).status === 0;

test.skipIf(!there)('the page in Chromium', async () => {
  const predictions = await predictionsOf(2000);
  const { outputs } = await ranStep(
    step,
    {},
    {
      metrics: [file(METRICS)],
      predictions: [predictions],
      history: [file(HISTORY)],
      model: [await randomClassifier()],
      data: [predictions],
    },
  );
  const browser = await Browser.open();
  await browser.goto(`file://${join(outputs.report!, 'report.html')}`);
  const sections = await browser.value<string[]>('[...document.querySelectorAll("main > section")].map(({ id }) => id)');
  expect(sections).toEqual([
    'summary',
    'training',
    'confusion',
    'curves',
    'calibration',
    'slices',
    'fairness',
    'counterfactual',
    'mistakes',
    'data',
  ]);
  for (const width of [1280, 390, 360])
    for (const scheme of ['light', 'dark']) {
      await browser.send('Emulation.setDeviceMetricsOverride', { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 });
      await browser.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
      expect(await browser.value('document.documentElement.scrollWidth <= innerWidth'), `${scheme}, ${width}`).toBe(true);
      const background = await browser.value<string>('getComputedStyle(document.body).backgroundColor');
      expect(background).toBe(scheme === 'dark' ? 'rgb(13, 17, 23)' : 'rgb(255, 255, 255)');
      expect(await browser.value(OVERLAPS), `${scheme}, ${width}`).toEqual([]);
      expect(await browser.value(NOT_READABLE), `${scheme}, ${width}`).toEqual([]);
      expect(await browser.value(LOW_CONTRAST), `${scheme}, ${width}`).toEqual([]);
    }
  // With the keyboard alone: to the first count of the matrix, and to its examples.
  for (let i = 0; i < 80 && !(await browser.value('document.activeElement.matches(".matrix a")')); i++) await browser.press('Tab', 9);
  await browser.press('Enter', 13, '\r');
  expect(await browser.value('document.querySelectorAll(".wide[tabindex]").length')).toBe(
    await browser.value('[...document.querySelectorAll(".wide")].filter((one) => one.scrollWidth > one.clientWidth).length'),
  );
  expect(await browser.value('location.hash')).toMatch(/^#cell-\d-\d$/);
  expect(await browser.value('document.querySelector(":target .example") !== null')).toBe(true);
  const { data } = await browser.send('Page.printToPDF', {});
  expect(Buffer.from(data, 'base64').subarray(0, 5).toString()).toBe('%PDF-');
  expect(browser.problems()).toEqual([]);
  expect(browser.requests().filter((url) => !/^(file|data):/.test(url))).toEqual([]);
});

test.skipIf(!there)('the page of a server in Chromium: it asks for a key, keeps it in the tab, and runs no other script', async () => {
  const model = await makeModel();
  const bundle = await makeBundle(model);
  const keys = join(bundle, 'keys');
  writeFileSync(keys, 'one:secret-key\n');
  const server = await startServer(bundle, { port: 0, apiKeyFile: keys, say: () => {} });
  onTestFinished(async () => {
    await server.close();
    remove(model, bundle);
  });
  const browser = await Browser.open();
  await browser.goto(server.url);
  const shown = 'document.getElementById("result")';
  const ask = async (key: string) => {
    const input = `Object.assign(document.getElementById("key"), { value: ${JSON.stringify(key)} }).dispatchEvent(new Event("input"))`;
    await browser.value(
      `${input}, document.getElementById("text").value = "hello", ${shown}.hidden = true, document.forms[0].requestSubmit()`,
    );
    await expect.poll(() => browser.value(`!${shown}.hidden`)).toBe(true);
    return browser.value<string>(`${shown}.textContent`);
  };
  expect(await browser.value('document.activeElement.id')).toBe('key');
  expect(await ask('')).toContain('Enter your API key');
  expect(await ask('wrong')).toContain('does not know this API key');
  expect(await ask('s\u00e9cret')).toContain('a character that a key cannot have');
  expect(await ask('secret-key')).toMatch(/^(ham|spam).* %/);
  await browser.value('window.fetch = async () => new Response("", { status: 429, headers: { "retry-after": "3" } }), 0');
  expect(await ask('secret-key')).toBe('Too many requests. Try again in 3 seconds.');
  for (const width of [1280, 360])
    for (const scheme of ['light', 'dark']) {
      await browser.send('Emulation.setDeviceMetricsOverride', { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 });
      await browser.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
      expect(await browser.value('document.documentElement.scrollWidth <= innerWidth'), `${scheme}, ${width}`).toBe(true);
    }
  await browser.goto(server.url);
  expect(await browser.value('[document.getElementById("key").value, document.activeElement.id, localStorage.length]')).toEqual([
    'secret-key',
    'text',
    0,
  ]);
  await browser.value('document.body.append(Object.assign(document.createElement("script"), { textContent: "window.foreign = 1" }))');
  expect(await browser.value('window.foreign ?? null')).toBe(null);
  const unexpected = browser.problems().filter(({ params }) => !/status of (401|429)|Content Security Policy/.test(JSON.stringify(params)));
  expect(unexpected).toEqual([]);
});

/** Charts that do not fit the page, and labels that are outside of their chart or smaller than 9 pixels. */
const NOT_READABLE = `[...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const isOutside = (one) => one.left < box.left - 1 || one.right > box.right + 1 || one.top < box.top - 1 || one.bottom > box.bottom + 1;
  const labels = [...svg.querySelectorAll('text')].filter((label) =>
    isOutside(label.getBoundingClientRect()) || scale * Number.parseFloat(getComputedStyle(label).fontSize) < 9);
  return [...(box.right > innerWidth ? [svg.closest('figure').id] : []), ...labels.map((label) => label.textContent)];
})`;

/** Pairs of labels of a picture that overlap. */
const OVERLAPS = `[...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const labels = [...svg.querySelectorAll('text')].map((one) => [one.textContent, one.getBoundingClientRect()]);
  return labels.flatMap(([a, p], i) => labels.slice(i + 1).flatMap(([b, q]) =>
    Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 3 ? [a + ' / ' + b] : []));
})`;

/** Texts with a contrast below 4.5 on the color behind them. */
const LOW_CONTRAST = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const over = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colors) => {
    const [r, g, b] = over(colors).map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === '' || /^(title|desc|style)$/.test(element.localName)) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const own = getComputedStyle(element);
    const [a, b] = [luminance(behind), luminance([...behind, element.closest('svg') ? own.fill : own.color])].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.add(element.localName + '.' + element.className + ' ' + walker.currentNode.data.slice(0, 20));
  }
  return [...found];
})()`;

/** Chromium through the DevTools protocol. */
class Browser {
  #next = 0;
  #session: string | undefined;
  readonly #waiting = new Map<number, (answer: any) => void>();
  readonly #events: any[] = [];

  private constructor(private readonly socket: WebSocket) {
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(String(data));
      if (message.id === undefined) this.#events.push(message);
      else this.#waiting.get(message.id)!(message.result);
    };
  }

  static async open(): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), 'tunesmith-chromium-'));
    const flags = [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--remote-debugging-port=0',
      `--user-data-dir=${folder}`,
      'about:blank',
    ];
    const child = spawn(chromium, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    onTestFinished(async () => {
      child.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    });
    const socket = new WebSocket(await address(child));
    await new Promise((resolve) => socket.addEventListener('open', resolve));
    const browser = new Browser(socket);
    const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
    browser.#session = sessionId;
    for (const domain of ['Runtime', 'Log', 'Page', 'Network']) await browser.send(`${domain}.enable`, {});
    return browser;
  }

  send(method: string, params: object): Promise<any> {
    const id = ++this.#next;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.socket.send(JSON.stringify({ id, method, params, sessionId: this.#session }));
    });
  }

  async goto(url: string): Promise<void> {
    await this.send('Page.navigate', { url });
    await expect.poll(() => this.value('document.readyState')).toBe('complete');
  }

  async value<T>(expression: string): Promise<T> {
    return (await this.send('Runtime.evaluate', { expression, returnByValue: true })).result?.value;
  }

  async press(key: string, code: number, text = ''): Promise<void> {
    for (const type of ['keyDown', 'keyUp'])
      await this.send('Input.dispatchKeyEvent', { type, key, code: key, windowsVirtualKeyCode: code, ...(type === 'keyDown' && { text }) });
  }

  /** Messages in the console, and uncaught exceptions. */
  problems = () => this.#events.filter(({ method }) => /^(Log\.entryAdded|Runtime\.(exceptionThrown|consoleAPICalled))$/.test(method));

  requests = (): string[] =>
    this.#events.filter(({ method }) => method === 'Network.requestWillBeSent').map(({ params }) => params.request.url);
}

async function address({ stderr }: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of stderr!) {
    text += chunk;
    const found = /ws:\/\/\S+/.exec(text);
    if (found) return found[0];
  }
  throw new Error(`Chromium ended: ${text}`);
}
