/** The Python that the benchmarks compare with, with pinned packages in bench/.venv. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const PACKAGES = ['torch==2.13.0', 'transformers==5.23.0', 'accelerate==1.15.0', 'safetensors==0.8.0'];

/** TUNESMITH_BENCH_PYTHON may point to a Python that has all of them. */
export function preparePython(...more: string[]): string {
  const given = process.env.TUNESMITH_BENCH_PYTHON;
  if (given) return given;
  const venv = join(import.meta.dirname, '.venv');
  const found = join(venv, 'bin/python');
  if (!existsSync(found)) execFileSync('python3', ['-m', 'venv', venv], { stdio: 'inherit' });
  execFileSync(found, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...PACKAGES, ...more], { stdio: 'inherit' });
  return found;
}
