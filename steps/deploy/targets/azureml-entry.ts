/** The command of an image for Azure Machine Learning, which mounts the registered model at AZUREML_MODEL_DIR. */
import { bundleOf, serveBundle } from './entry.ts';

await serveBundle(bundleOf(process.env.AZUREML_MODEL_DIR || undefined), 'azureml', process.env.PORT || '5001');
