/** A place where a bundle is served: what the folder of `deploy` contains for it besides the bundle. */
import type { Bundle } from '../../ml/answering/bundle.ts';
import type { PackageContents } from './package.ts';

export interface Target {
  /** What of tunesmith the image contains; undefined if it contains none. */
  contents?: PackageContents;
  /** @throws StepError if the target cannot serve this bundle, which is checked before anything is written */
  check?(bundle: Bundle): void;
  files(served: ServedBundle): Record<string, string> | Promise<Record<string, string>>;
}

export interface ServedBundle {
  /** The name of the model, as it is in the model card. */
  title: string;
  /** The same as the name of a container: lower-case letters, digits and hyphens. */
  name: string;
  bundle: Bundle;
  /** The file of the packed package in the folder; empty if the target has none. */
  packed: string;
  /** MiB that a container needs. */
  memory: number;
  /** Records that the model can read, for examples. */
  records: unknown[];
}
