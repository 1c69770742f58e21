#!/usr/bin/env node
/**
 * The command's entry: says in one line where Node is too old, and otherwise loads the command line (command-line.ts).
 *
 * It imports nothing and keeps to syntax that Node has had for long, because an older Node can neither parse nor link what
 * it would load. Node 22.15 is the first with the hooks that lead a user's step to this package (engine/load-step.ts), and
 * better-sqlite3 ends in a segmentation fault below Node-API 10, which came with 22.14.
 */
var parts = process.versions.node.split('.');
var major = Number(parts[0]);

if (major > 23 || (major === 22 && Number(parts[1]) >= 15)) {
  // Compiling what is loaded is a good part of a short command's time: Node keeps the result.
  process.getBuiltinModule('module').enableCompileCache();
  import('./command-line.ts');
} else {
  process.stderr.write(
    'error: tunesmith needs Node 22.15 or later, 24 or 26; this is ' + process.version + ' (' + process.execPath + ').\n',
  );
  process.exitCode = 1;
}
