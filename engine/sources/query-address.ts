/**
 * Parses a database query that a pipeline uses instead of a path: `{ url: postgres://host/name, query: SELECT … }`. It opens
 * no connection, so that `validate` finds errors. The revision of a query is the hash of its rows.
 */
import { resolve } from 'node:path';

export interface QueryAddress {
  kind: 'query';
  /** The URL and the query in one line, for messages. They contain no password. */
  text: string;
  path: '';
  url: string;
  /** Absolute path of a SQLite file. */
  file?: string;
  query: string;
}

interface Mistaken {
  /** `url` or `query`. */
  at: string;
  mistake: string;
  hint?: string;
}

/** `folder`: paths are relative to it. */
export function readQueryAddress({ url, query }: { url: string; query: string }, folder: string): QueryAddress | Mistaken {
  const text = `${url} ${query.replaceAll(/\s+/g, ' ').trim()}`;
  if (query.trim() === '') return { at: 'query', mistake: 'the query is empty', hint: 'Write a SELECT.' };
  const sqlite = /^sqlite:(?:\/\/(?=\/))?(.+)$/i.exec(url);
  if (sqlite) return { kind: 'query', text, path: '', url, file: resolve(folder, sqlite[1]!), query };
  if (!/^postgres(ql)?:\/\//i.test(url)) return { at: 'url', mistake: 'databases of this type are not supported', hint: FORMS };
  let parsed: URL;
  try {
    parsed = new URL(url.replace(/^postgres(ql)?:\/\/(?=[/?]|$)/i, '$&localhost'));
  } catch {
    // Do not print the URL, which may contain a password.
    return { at: 'url', mistake: 'the URL of the database is invalid', hint: FORMS };
  }
  if (parsed.password !== '' || [...parsed.searchParams.keys()].some((name) => /password|passfile|sslkey/i.test(name)))
    return {
      at: 'url',
      mistake: `the URL of the database on ${parsed.host} contains a password, which must not be in a pipeline`,
      hint: 'Remove it, and set PGPASSWORD (and PGUSER) in the environment, or create a ~/.pgpass file.',
    };
  return { kind: 'query', text, path: '', url, query };
}

const FORMS = 'Write postgres://host:port/database, or sqlite:FILE.';
