#!/usr/bin/env node
/**
 * The entry point of the command. It loads the command line (command-line.ts), or prints one line if Node is too old.
 *
 * The file imports nothing and uses only old syntax, because an older Node can neither parse nor link the rest. Node 22.15
 * is the first version with the module hooks that engine/contract/load-step.ts needs. better-sqlite3 crashes with a segmentation fault
 * below Node-API 10, which Node has since 22.14.
 */
var parts = process.versions.node.split('.');
var major = Number(parts[0]);

if (major > 23 || (major === 22 && Number(parts[1]) >= 15)) {
  // A short command spends much of its time on compiling modules, so Node caches the compiled code.
  process.getBuiltinModule('module').enableCompileCache();
  import('./commands/command-line.ts');
} else {
  process.stderr.write(
    'error: tunesmith needs Node 22.15 or later (but not 23); this is ' + process.version + ' (' + process.execPath + ').\n',
  );
  process.exitCode = 1;
}
