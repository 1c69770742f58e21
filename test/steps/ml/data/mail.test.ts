import { expect, test } from 'vitest';
import { decodeMail, isMail } from '../../../../steps/ml/data/mail.ts';
import { collected, values } from '../../collect/files.ts';

const mail = (...lines: string[]) => lines.join('\n');

test.each<[string, string | Uint8Array, string]>([
  ['headers are stripped', mail('From: a@b.org', 'Subject: x', '', 'Hello', '', 'you'), 'Hello\n\nyou'],
  ['a mail folder’s first line', mail('From a@b.org  Thu Aug 22 13:17:22 2002', 'Subject: x', '', 'Hello'), 'Hello'],
  [
    'base64',
    mail('Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: base64', '', Buffer.from('grüße').toString('base64')),
    'grüße',
  ],
  [
    'quoted-printable, Latin-1',
    mail('Content-Type: text/plain; charset=iso-8859-1', 'Content-Transfer-Encoding: quoted-printable', '', 'caf=E9 =\nnoir'),
    'café noir',
  ],
  [
    'bytes in Windows-1251',
    Buffer.concat([Buffer.from('Content-Type: text/plain; charset=windows-1251\n\n'), Buffer.from([0xcf, 0xf0, 0xe8])]),
    'При',
  ],
  [
    'characters that were decoded before keep what they are',
    mail('Content-Type: text/plain; charset=iso-8859-1', '', 'café € 😀 \ufffd'),
    'café € 😀 \ufffd',
  ],
  [
    'HTML',
    mail(
      'Content-Type: text/html',
      '',
      '<html><style>p{}</style><h1>Big</h1><p>a <b>b</b>&eacute; &amp; c<br>d <a href="http://x.org">link</a><img src="x">',
    ),
    'Big\n\na bé & c\nd link',
  ],
  [
    'of two versions the plain one',
    mail(
      'Content-Type: multipart/alternative; boundary=B',
      '',
      '--B',
      'Content-Type: text/plain',
      '',
      'plain',
      '--B',
      'Content-Type: text/html',
      '',
      '<p>html',
      '--B--',
    ),
    'plain',
  ],
  [
    'HTML where the plain version is empty',
    mail(
      'Content-Type: multipart/alternative; boundary=B',
      '',
      '--B',
      'Content-Type: text/plain',
      '',
      ' ',
      '--B',
      'Content-Type: text/html',
      '',
      '<p>html',
      '--B--',
    ),
    'html',
  ],
  [
    'attachments are left out',
    mail(
      'Content-Type: multipart/mixed; boundary=B',
      '',
      '--B',
      '',
      'text',
      '--B',
      'Content-Type: application/pdf',
      'Content-Disposition: attachment; filename=x.txt',
      '',
      'SECRET',
      '--B--',
    ),
    'text',
  ],
  [
    'a boundary that never comes',
    mail('Content-Type: multipart/mixed; boundary=NONE', '', '--OTHER', 'Content-Type: text/plain', '', 'text'),
    '',
  ],
  ['an unknown charset', mail('Content-Type: text/plain; charset="no-such"', '', 'text'), 'text'],
  ['broken base64', mail('Content-Transfer-Encoding: base64', '', '!!!!'), ''],
  ['headers without a body', 'Subject: x', ''],
  ['nothing', '', ''],
  ['line breaks of other systems', 'Subject: x\r\n\r\na\r\nb\r\n', 'a\nb'],
])('%s', async (_, source, text) => {
  expect((await decodeMail(source)).text).toBe(text);
});

test('never fails, whatever the input', async () => {
  const pieces = [
    'From: ',
    'Content-Type: ',
    'multipart/mixed; ',
    'text/html; ',
    'message/rfc822',
    'charset=',
    'boundary=',
    'B',
    '--B',
    '--',
    '\n',
    '\n\n',
    '\r',
    '\0',
    '<p',
    '>',
    '&#',
    '=?utf-8?b?',
    '?=',
    '=E9',
    'é',
    '\ufffd',
    '=',
    ';',
    '"',
    'base64',
    'Content-Transfer-Encoding: ',
  ];
  let seed = 1;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % n;
  };
  for (let i = 0; i < 2000; i++) {
    const source = Array.from({ length: random(30) }, () => pieces[random(pieces.length)]).join('');
    expect(typeof (await decodeMail(i % 2 ? source : Buffer.from(source, 'latin1'))).text).toBe('string');
  }
});

test.each([
  ['elements', '<div>'],
  ['tables', '<table><tr><td>'],
  ['quotes', '<blockquote>'],
])('HTML of ten thousand nested %s', async (_, piece) => {
  expect(typeof (await decodeMail(`Content-Type: text/html\n\n${piece.repeat(10_000)}x`)).text).toBe('string');
});

test('mail files and mbox files: one row per mail, with subject, sender and folder', async () => {
  const letter = mail('From: Joe <joe@x.org>', 'Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=', '', 'Hello');
  const mbox = mail(
    'From joe@x.org  Thu Aug 22 13:17:22 2002',
    'From: joe@x.org',
    '',
    'one',
    '>From here on',
    '',
    'From here it is no envelope',
    '',
    'From ann@x.org Thu Aug 22 13:17:22 2002',
    'From: ann@x.org',
    '',
    'two',
    '',
  );
  const table = await collected({ 'ham/1.eml': letter, 'spam/2.mbox': mbox });
  expect(table.columns).toEqual(['id VARCHAR', 'text VARCHAR', 'subject VARCHAR', 'sender VARCHAR', 'folder VARCHAR', 'path VARCHAR']);
  expect(table.rows.map(({ text, subject, sender, folder }) => [text, subject, sender, folder]).sort()).toEqual([
    ['Hello', 'grüße', 'joe@x.org', 'ham'],
    ['one\nFrom here on\n\nFrom here it is no envelope', null, 'joe@x.org', 'spam'],
    ['two', null, 'ann@x.org', 'spam'],
  ]);
});

test('decode: the mails in a column become their texts, before select and where', async () => {
  const rows = ['Subject: a\n\nHello', 'Subject: b\n\nBye', null].map((body, i) => JSON.stringify({ i, body }));
  const table = await collected(
    { 'a.jsonl': rows.join('\n') },
    { decode: { body: 'mail' }, select: { text: 'body' }, where: "body = 'Hello' OR body IS NULL", max_rejected: 1 },
  );
  expect(values(table, 'text')).toEqual(['Hello']);
  expect(table.rejected).toEqual(['a.jsonl:3 `text` is null']);
});

test('a whole mail is distinguished from its body', () => {
  const headers = mail('Received: from x', '\tby y; Thu, 22 Aug 2002', 'Subject: a: b', 'X-Odd!Name: 1');
  expect(isMail(`${headers}\n\nHello`)).toBe(true);
  expect(isMail(`From a@b.org  Thu Aug 22 13:17:22 2002\r\n${headers.replaceAll('\n', '\r\n')}\r\n\r\nHello`)).toBe(true);
  expect(isMail(headers)).toBe(true);
  for (const body of [
    '',
    'Hello',
    'Subject: only this\n\nHello',
    'Note: a\nBut: b\n\nHello',
    `Hello\n${headers}\n\n`,
    'From: a\nTo: b\nsaid\n\n',
  ])
    expect(isMail(body), body).toBe(false);
});

test('a mail forwarded as the body of another is decoded too, and decoding is idempotent', async () => {
  const inner = mail('From: a@b.org', 'Subject: x', '', 'Hello');
  const { text } = await decodeMail(mail('From: c@d.org', 'To: e@f.org', '', inner));
  expect(text).toBe('Hello');
  expect((await decodeMail(mail('From: c@d.org', 'To: e@f.org', '').concat('\n').repeat(100))).text).toContain('From: c@d.org');
});
