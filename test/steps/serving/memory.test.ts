/** A container of 2 GB survives everything that the limits accept. */
import { afterAll, expect, test } from 'vitest';
import { container } from '../../container.ts';
import { project } from '../../rig.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';

const group = container(2 ** 31);
const model = await makeModel();
const bundle = await makeBundle(model);

afterAll(() => {
  remove(model, bundle);
  group?.remove();
});

test.skipIf(!group)('a server in 2 GB (needs permission to make a cgroup) answers after bodies of 10 MB of the worst texts', async () => {
  const p = project();
  const server = p.start('serve', bundle, '--port', '0');
  group!.add(server.pid);
  await p.until(() => server.output().includes('http://'));
  const url = /http:\/\/\S+/.exec(server.output())![0];
  const post = async (inputs: unknown, milliseconds: number): Promise<number | string> => {
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ inputs }) };
    return fetch(`${url}/predict`, { ...options, signal: AbortSignal.timeout(milliseconds) }).then(
      ({ status }) => status,
      (error: Error) => error.name,
    );
  };
  for (const text of ['漢字'.repeat(50_000), `a${'\u0301\u0316'.repeat(49_999)}`, '<a&amp;'.repeat(14_000)]) {
    const inputs = new Array(Math.floor(9.5e6 / Buffer.byteLength(text))).fill(text);
    for (const outcome of await Promise.all([1, 2, 3, 4, 5, 6].map(() => post(inputs, 3000))))
      expect([200, 503, 'TimeoutError']).toContain(outcome);
  }
  // It is served in its turn, whatever is left of the others.
  expect(await post('still there?', 60_000)).toBe(200);
  expect(group!.kills()).toBe(0);
  server.kill('SIGTERM');
  expect((await server.done).code).toBe(0);
});
