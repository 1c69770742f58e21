/** The certificate and the key of a server that answers HTTPS. */
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { StepError } from '../../engine/contract/step.ts';

export interface TlsFiles {
  /** The certificate, and those between it and the root, in PEM. */
  cert: string;
  key: string;
}

/** @throws StepError if a file cannot be read, or the key belongs to another certificate */
export async function readTls(files: TlsFiles): Promise<SecureContextOptions> {
  const read = (option: 'cert' | 'key') =>
    readFile(files[option]).catch((error: Error) => {
      throw new StepError(`--tls-${option} ${files[option]} cannot be read: ${error.message}`);
    });
  const options: SecureContextOptions = { cert: await read('cert'), key: await read('key'), minVersion: 'TLSv1.2' };
  try {
    createSecureContext(options);
  } catch (error) {
    throw new StepError(
      `--tls-cert ${files.cert} and --tls-key ${files.key} cannot be used: ${(error as Error).message}`,
      'Give a certificate and its own key, both in PEM and without a passphrase.',
    );
  }
  return options;
}

/** Both files or neither. */
export function tlsFilesOf(cert: string | undefined, key: string | undefined): TlsFiles | undefined {
  if (cert !== undefined && key !== undefined) return { cert, key };
  if (cert === undefined && key === undefined) return undefined;
  throw new StepError(`--tls-${cert === undefined ? 'key' : 'cert'} needs --tls-${cert === undefined ? 'cert' : 'key'} too`);
}
