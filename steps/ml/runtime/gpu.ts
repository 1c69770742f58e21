/** NVIDIA GPUs, as reported by their driver. */

import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface Gpu {
  name: string;
  memory: string;
  driver: string;
  /** Compute capability: "9.0". */
  capability: string;
}

/**
 * A quick check without starting a process: the driver is loaded, or its nvidia-smi is on PATH (WSL has only that).
 */
export function hasNvidiaDriver(): boolean {
  if (existsSync('/proc/driver/nvidia/version')) return true;
  return (process.env.PATH ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, 'nvidia-smi')));
}

/** Identifies the machine's driver and cards. */
export function nvidiaIdentity(): string {
  try {
    return [readFileSync('/proc/driver/nvidia/version', 'utf8').split('\n', 1)[0], ...readdirSync('/proc/driver/nvidia/gpus')].join(' ');
  } catch {
    return hasNvidiaDriver() ? 'nvidia-smi' : 'none';
  }
}

/** The GPUs, or nvidia-smi's message if it lists none; undefined if there is no nvidia-smi. */
export function nvidiaGpus(): Promise<Gpu[] | string | undefined> {
  return new Promise((resolve) => {
    const query = ['--query-gpu=name,memory.total,driver_version,compute_cap', '--format=csv,noheader'];
    execFile('nvidia-smi', query, { timeout: 60_000 }, (error, stdout, stderr) => {
      if (error?.code === 'ENOENT') return resolve(undefined);
      const lines = stdout.split('\n').filter((line) => line.includes(','));
      if (error || lines.length === 0) return resolve(`${stdout}${stderr}`.trim() || error?.message || 'nvidia-smi lists no GPU');
      resolve(
        lines.map((line) => {
          const [name, memory, driver, capability] = line.split(',').map((part) => part.trim()) as [string, string, string, string];
          return { name, memory, driver, capability };
        }),
      );
    });
  });
}
