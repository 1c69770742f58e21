/** The environment of a child process: variables, masked secrets, working folder. */
import { afterEach, expect, test, vi } from 'vitest';
import { maskOf } from '../../../engine/run/process/secret-masking.ts';
import { engine } from './rig.ts';

afterEach(() => vi.unstubAllEnvs());

test('variables of the machine and declared ones, nothing else', async () => {
  const p = engine(
    'steps: { a: { run: "env | cut -d= -f1 | sort > ${{ outputs.o }}", env: { DECLARED: yes, MINE: "1" }, outputs: { o: o.txt } } }',
  );
  const passed = [
    'LC_TIME',
    'TZ',
    'TMPDIR',
    'http_proxy',
    'NO_PROXY',
    'CUDA_VISIBLE_DEVICES',
    'NVIDIA_DRIVER_CAPABILITIES',
    'LD_LIBRARY_PATH',
  ];
  for (const name of [...passed, 'SOMETHING_ELSE', 'NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'NPM_TOKEN', 'DECLARED']) vi.stubEnv(name, '/x');
  vi.stubEnv('NODE_OPTIONS', '--no-warnings');
  await p.go();
  const names = p.read('o.txt').trim().split('\n');
  const shells = ['_', 'PWD', 'OLDPWD', 'SHLVL'];
  const machine = ['PATH', 'HOME', 'USER', 'SHELL', 'LANG', ...passed].filter((name) => process.env[name] !== undefined);
  const locale = Object.keys(process.env).filter((name) => /^LC_/.test(name));
  expect(names.filter((name) => !shells.includes(name)).sort()).toEqual([...new Set([...machine, ...locale, 'DECLARED', 'MINE'])].sort());
});

test('stdin is empty, and the working folder is the pipeline file’s folder', async () => {
  const p = engine('steps: { a: { run: "cat > ${{ outputs.o }}; pwd >> ${{ outputs.o }}", outputs: { o: o.txt } } }');
  await p.go();
  expect(p.read('o.txt')).toBe(`${p.folder}\n`);
});

test('a secret is masked everywhere: split over writes, by line, in messages of a step', async () => {
  vi.stubEnv('TOKEN', 'hunter2-is-long');
  vi.stubEnv('KEY', '-----BEGIN-----\nline-one-of-it\n}\n');
  const p = engine(
    `
steps:
  shell:
    run: printf 'split hun'; sleep 0.2; printf 'ter2-is-long end\\n'; echo "$KEY" | tail -n 3 >&2; printf 'open %s' "$TOKEN"
    secrets: [TOKEN, KEY]
  step: { uses: ./say.mjs, secrets: [TOKEN] }
`,
    {
      'say.mjs': `export default { name: 's', version: 1, outputs: {}, run({ log, warn, progress }) {
        const t = process.env.TOKEN; log('log ' + t); warn('warn ' + t); progress(1, 2, { note: t }); console.log('out ' + t);
        const error = new Error('failed with ' + t); throw error; } };`,
    },
  );
  const run = await p.go({ onFailure: 'continue' });
  expect(run.lines).toContain('split *** end');
  expect(run.lines).toContain('open ***');
  expect(run.lines.filter((line) => line === '***')).toHaveLength(1);
  expect(run.lines).toContain('}');
  expect(run.notices).toEqual(['warn ***']);
  expect(run.failures.step!.message).toBe('failed with ***');
  expect(JSON.stringify(run.events)).not.toMatch(/hunter2|line-one/);
  for (const file of p.find('.tunesmith')) expect(p.read(file), file).not.toMatch(/hunter2|line-one/);
});

test('longer secrets are masked first; special characters are literal', () => {
  expect(maskOf(['ab', 'abcd', 'x.*'])('abcd ab x.* xyz')).toBe('*** *** *** xyz');
  expect(maskOf([])('as it is')).toBe('as it is');
});

test('a secret does not enter the fingerprint; a variable does, and unset differs from empty', async () => {
  const p = engine('steps: { a: { run: "echo >> runs", env: [VAR], secrets: [TOKEN] } }');
  vi.stubEnv('TOKEN', 'one-secret');
  vi.stubEnv('VAR', 'one');
  await p.go();
  vi.stubEnv('TOKEN', 'another-secret');
  expect((await p.go()).states).toEqual({ a: 'fresh' });
  vi.stubEnv('VAR', '');
  expect((await p.go()).why).toEqual({ a: 'env VAR changed' });
  vi.stubEnv('VAR', undefined);
  expect((await p.go()).why).toEqual({ a: 'env VAR: set → not set' });
  vi.stubEnv('VAR', 'one');
  expect((await p.go()).states).toEqual({ a: 'fresh' });
});
