/** Masks the values of secrets in text, and each line of a multi-line secret, because logs are processed line by line. */

export type Mask = (text: string) => string;

export function maskOf(secrets: string[]): Mask {
  const hidden = new Set<string>();
  for (const secret of secrets) {
    hidden.add(secret);
    // Do not mask short lines such as `{`, which reveal nothing. Masking them would ruin every log.
    const lines = secret.split(/\r\n|\r|\n/).map((line) => line.trim());
    if (lines.length > 1) for (const line of lines) if (line.length >= 4) hidden.add(line);
    if (secret.trim()) hidden.add(secret.trim());
  }
  hidden.delete('');
  if (hidden.size === 0) return (text) => text;
  // Longest first, so that a secret that contains another one is masked completely.
  const longestFirst = [...hidden].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((value) => value.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'), 'g');
  return (text) => text.replace(pattern, '***');
}
