/** The command of an image for Vertex AI, which sets the port and the paths as variables. */
import { bundleOf, serveBundle } from './entry.ts';

const { AIP_HTTP_PORT, AIP_STORAGE_URI } = process.env;
// The variable is set if the model was uploaded with artifacts.
if (AIP_STORAGE_URI)
  console.error(`AIP_STORAGE_URI is not read: the image contains its bundle, and nothing is fetched from ${AIP_STORAGE_URI}`);
await serveBundle(bundleOf(undefined), 'vertex', AIP_HTTP_PORT || '8080');
