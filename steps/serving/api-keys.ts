/** API keys. Only their SHA-256 hashes are kept, and they are compared in a time that depends on no key. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { StepError } from '../../engine/contract/step.ts';

export class ApiKeys {
  readonly #keys: { name: string; hash: Buffer }[];

  /** @param text one key a line: KEY, NAME:KEY, sha256:HEX or NAME:sha256:HEX; lines that begin with # are comments */
  constructor(text: string, file: string) {
    this.#keys = text.split(/\r?\n/).flatMap((line, i) => {
      const entry = line.trim();
      if (entry === '' || entry.startsWith('#')) return [];
      if (/^[\w.-]+:(sha256:)?$/i.test(entry))
        throw new StepError(
          `${file}, line ${i + 1}: there is no key after ${entry}`,
          'Write NAME:KEY. A variable may be empty where the file is made.',
        );
      const [, name = `line ${i + 1}`, key] = /^(?:(?!sha256:)([\w.-]+):)?(.+)$/is.exec(entry)!;
      const hex = /^sha256:([0-9a-f]{64})$/i.exec(key!)?.[1];
      if (hex === undefined && /^sha256:/i.test(key!))
        throw new StepError(
          `${file}, line ${i + 1}: sha256: must be followed by 64 hexadecimal digits`,
          'Take the output of: printf %s KEY | sha256sum',
        );
      if (/\s/.test(key!))
        throw new StepError(`${file}, line ${i + 1}: a key must contain no spaces`, 'Put each key on a line of its own.');
      return [{ name, hash: hex === undefined ? sha256(key!) : Buffer.from(hex, 'hex') }];
    });
    if (this.#keys.length === 0) throw new StepError(`${file} contains no API key`, 'Write one key on each line: NAME:KEY.');
    const twice = this.#keys.find(({ name, hash }, i) =>
      this.#keys.some((other, k) => k < i && (other.name === name || other.hash.equals(hash))),
    );
    if (twice) throw new StepError(`${file}: the key or the name "${twice.name}" occurs twice`, 'Give each key its own name.');
  }

  /** The name of a key; undefined for one that is not in the file. */
  nameOf(key: string): string | undefined {
    const hash = sha256(key);
    let found: string | undefined;
    for (const each of this.#keys) if (timingSafeEqual(each.hash, hash)) found = each.name;
    return found;
  }
}

/** @throws StepError if the file cannot be read, or has an invalid line */
export async function readApiKeys(file: string): Promise<ApiKeys> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new StepError(`--api-key-file ${file} cannot be read: ${error.message}`);
  });
  return new ApiKeys(text, file);
}

/** The key in the header Authorization (Bearer) or X-API-Key. */
export function keyIn(authorization: string | undefined, apiKey: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? apiKey;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
