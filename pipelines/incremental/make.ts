/**
 * Writes the made-up data of incremental.yaml: messages to a shop. The first ones are about parcels and invoices. Then the shop sells
 * an app too, and customers write in words that the first model has never read.
 *
 *   first.jsonl     labelled messages, from which the first model learns
 *   records.jsonl   what `serve --record` writes: new messages, with answers
 *   labels.jsonl    the same new messages with their right labels, as a team has labelled them
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

type Phrases = Record<'delivery' | 'payment' | 'fault', string[]>;

const SHOP: Phrases = {
  delivery: [
    'my parcel is late',
    'the courier left the box outside',
    'the parcel has not been shipped',
    'the driver could not find my house',
  ],
  payment: ['the invoice is wrong', 'you charged my card twice', 'please send a receipt', 'the refund has not reached my bank'],
  fault: ['the kettle does not heat', 'the lamp flickers', 'the chair broke', 'the radio makes no sound'],
};

const APP: Phrases = {
  delivery: [
    'the download never ends',
    'the update stops at half',
    'the link to install has expired',
    'the voucher code never arrived by mail',
  ],
  payment: [
    'the subscription renewed by itself',
    'the trial turned into a paid plan',
    'in-app coins were billed again',
    'the upgrade price differs from checkout',
  ],
  fault: ['the app crashes on login', 'the screen freezes', 'notifications are gone', 'sync loses my notes'],
};

const BEGINNINGS = [
  'Hello,',
  'Hi there,',
  'Good morning,',
  'Please help:',
  'Again,',
  'Dear team,',
  'Sorry to ask, but',
  'For your information,',
];
const MIDDLES = [
  'since monday',
  'for a week',
  'after my last order',
  'as I wrote before',
  'on both devices',
  'for the second time',
  'since yesterday',
  'without any notice',
];
const ENDS = ['Can you look into it?', 'Thank you.', 'Please answer soon.', 'What should I do?', 'I am waiting.', 'Kind regards.'];

/** Random numbers from 0 to 1, the same on every machine. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const uniform = mulberry32(19);
const pick = <T>(from: readonly T[]): T => from[Math.floor(uniform() * from.length)]!;

function messages(count: number, phrases: Phrases): { text: string; label: string }[] {
  return Array.from({ length: count }, () => {
    const label = pick(Object.keys(phrases) as (keyof Phrases)[]);
    return { text: `${pick(BEGINNINGS)} ${pick(phrases[label])} ${pick(MIDDLES)}. ${pick(ENDS)}`, label };
  });
}

const write = (name: string, rows: object[]) =>
  writeFileSync(join(import.meta.dirname, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

const first = messages(360, SHOP);
// Some customers still write about parcels, and some send a message that the first data have already.
const fresh = [...messages(190, APP), ...messages(40, SHOP), ...first.slice(0, 10)].map((row, i) => ({ id: `m${i + 1}`, ...row }));
write('first.jsonl', first);
write(
  'records.jsonl',
  fresh.map(({ id, text }, i) => ({
    time: new Date(Date.UTC(2026, 0, 5, 8, 3 * i)).toISOString(),
    id,
    input: { text },
    answer: { label: pick(Object.keys(SHOP)) },
  })),
);
write('labels.jsonl', fresh);
