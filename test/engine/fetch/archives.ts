/** Writes archives byte by byte, because normal tools do not write invalid ones. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface Entry {
  path: string;
  content?: string | Uint8Array;
  /** Target of a link; `hard` for a hard link. */
  link?: string;
  hard?: boolean;
  /** For tar: another type than file, folder or link, e.g. '3' for a device. */
  type?: string;
  program?: boolean;
  /** The wrong size in the header. */
  size?: number;
  mode?: number;
  /** For zip: deflated, with `size` in the directory. */
  packed?: boolean;
  /** For zip: the wrong CRC-32 in the directory. */
  crc?: number;
}

export function tarOf(entries: Entry[]): Buffer {
  const blocks = entries.flatMap(({ path, content = '', link, hard, type, program, size, mode }) => {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(512);
    const put = (at: number, text: string) => void header.write(text, at, 'latin1');
    put(0, path);
    put(100, `${(mode ?? (program ? 0o755 : 0o644)).toString(8).padStart(7, '0')}\0`);
    put(108, '0000000\x000000000\0');
    put(124, `${(size ?? bytes.length).toString(8).padStart(11, '0')}\0`);
    put(136, '00000000000\0');
    put(148, ' '.repeat(8));
    put(156, type ?? (link !== undefined ? (hard ? '1' : '2') : path.endsWith('/') ? '5' : '0'));
    put(157, link ?? '');
    put(257, 'ustar\x0000');
    put(
      148,
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
    );
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

export function zipOf(entries: Entry[]): Buffer {
  const parts: Buffer[] = [];
  const index: Buffer[] = [];
  let at = 0;
  for (const { path, content = '', link, program, size, mode: bits, packed, crc } of entries) {
    const name = Buffer.from(path);
    const raw = Buffer.from(link ?? content);
    const bytes = packed ? deflateRawSync(raw) : raw;
    const facts = Buffer.alloc(26);
    facts.writeUInt16LE(20, 0);
    // As if it were compressed, so that the real size shows only at the end.
    if (size !== undefined || packed) facts.writeUInt16LE(8, 4);
    facts.writeUInt32LE(crc ?? crc32(raw), 10);
    facts.writeUInt32LE(bytes.length, 14);
    facts.writeUInt32LE(size ?? raw.length, 18);
    facts.writeUInt16LE(name.length, 22);
    const mode = link === undefined ? 0o100000 | (bits ?? (program ? 0o755 : 0o644)) : 0o120777;
    const attributes = Buffer.alloc(14);
    attributes.writeUInt32LE((mode << 16) >>> 0, 6);
    attributes.writeUInt32LE(at, 10);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), facts, name, bytes]);
    index.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x03'), facts, attributes, name]));
    parts.push(local);
    at += local.length;
  }
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(Buffer.concat(index).length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...parts, ...index, Buffer.from('PK\x05\x06'), end]);
}
