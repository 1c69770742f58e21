/**
 * A query of a database in the place of a path, as a pipeline writes it: `{ url: postgres://host/name, query: SELECT … }`.
 * Read here without a connection: `validate` finds its mistakes. What it means is the content of its rows.
 */
import { resolve } from 'node:path';

export interface QueryAddress {
  kind: 'query';
  /** The URL and the query in one line, for people: neither holds a password. */
  text: string;
  path: '';
  url: string;
  /** Absolute, of SQLite. */
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
  if (!/^postgres(ql)?:\/\//i.test(url)) return { at: 'url', mistake: 'the URL is of no database that is read', hint: FORMS };
  let parsed: URL;
  try {
    parsed = new URL(url.replace(/^postgres(ql)?:\/\/(?=[/?]|$)/i, '$&localhost'));
  } catch {
    // Not shown: what stands in it may be a password.
    return { at: 'url', mistake: 'the URL of the database cannot be read', hint: FORMS };
  }
  if (parsed.password !== '' || [...parsed.searchParams.keys()].some((name) => /password|passfile|sslkey/i.test(name)))
    return {
      at: 'url',
      mistake: `the URL of the database on ${parsed.host} has a password in it, which has no place in a pipeline`,
      hint: 'Leave it out, and set PGPASSWORD (and PGUSER) in the environment, or write a ~/.pgpass.',
    };
  return { kind: 'query', text, path: '', url, query };
}

const FORMS = 'Write postgres://host:port/database, or sqlite:FILE.';
