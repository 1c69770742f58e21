/** A pipeline that pushes a model to a hub in this process. */
import { cpSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { startHub } from '../../engine/fetch/hub.ts';
import { project } from '../../rig.ts';
import { TOKEN } from '../ml/hub/pushes.ts';
import { makeModel, remove } from '../serving/bundle.ts';

export const YAML = `
steps:
  ship:
    uses: deploy
    with:
      target: hub
      hub: { repo: acme/spam, private: true, tag: v1 }
      name: mails
      license: mit
      model: model
`;

/** The hub, and a project whose only step pushes to it. */
export async function projectThatPushes() {
  const hub = await startHub();
  hub.tokens.set(TOKEN, { mayRead: [], mayWrite: ['acme'] });
  const p = project(
    { 'p.yaml': YAML },
    { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HUGGING_FACE_HUB_TOKEN: undefined, HF_HUB_OFFLINE: undefined },
  );
  const model = await makeModel();
  onTestFinished(() => remove(model));
  cpSync(model, p.path('model'), { recursive: true });
  return { hub, p };
}
