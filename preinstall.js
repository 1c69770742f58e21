/**
 * Run by npm when tunesmith is installed as a package: leaves out a download of onnxruntime-node's.
 *
 * Its own install script fetches 300 MB of CUDA libraries, which nothing here uses; where they cannot be had, npm would undo the
 * whole install. A package cannot set an option of another, so the list of what to fetch is emptied: npm runs every package's
 * preinstall before any postinstall. Who asks for the libraries (--onnxruntime-node-install=cuda12) gets them.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const asked = Object.keys(process.env).some((name) => /^(npm_config_)?onnxruntime_node_install(_cuda)?$/i.test(name));
if (!asked) {
  try {
    const list = createRequire(import.meta.url).resolve('onnxruntime-node/script/install-metadata.js');
    // A new file in its place: some package managers link files of many projects together.
    writeFileSync(`${list}.new`, readFileSync(list, 'utf8').replace("'linux/x64': ['cuda12']", "'linux/x64': []"));
    renameSync(`${list}.new`, list);
  } catch (error) {
    // In a checkout package-lock.json leaves the script out (test/house/package.test.ts).
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
  }
}
