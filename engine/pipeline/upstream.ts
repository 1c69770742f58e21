/** What the steps above a step make impossible for it: mistakes that stand in another step than the one that says so. */
import type { Json, OptionSchemas, OptionsOf, UpstreamStep } from '../step.ts';
import type { Draft, Drafts } from './cells.ts';
import { optionPath } from './options.ts';
import { traced } from './points.ts';
import type { Reading } from './reading.ts';

/** Asks every built-in step that declares `checkUpstream`, once its options and those above it are known. */
export function checkUpstream(drafts: Drafts, reading: Reading): void {
  const byName = new Map([...drafts.values()].flat().map((draft) => [draft.cell.name, draft]));
  for (const [{ used }, cells] of drafts) {
    if (!used?.checkUpstream) continue;
    for (const { cell } of cells) {
      if (cell.action.kind !== 'step') continue;
      const above = Object.fromEntries(Object.keys(cell.inputs).map((role) => [role, draftsAbove(cell, role, byName)]));
      const steps = Object.fromEntries(Object.entries(above).map(([role, found]) => [role, found.map(asUpstream)]));
      for (const { upstream, option, message, hint } of used.checkUpstream(cell.action.options as OptionsOf<OptionSchemas>, steps)) {
        const at = Object.values(above)
          .flat()
          .find((draft) => asUpstream(draft).cell === upstream.cell)!;
        const where = traced(at.step, ['with', ...optionPath(option)], reading, at.point.places);
        reading.tell(at.cell, where.source.diagnostic(where.path, 'value', message, hint));
      }
    }
  }
}

/** Built-in steps whose data reach an input, the nearest first. A step of the user's own begins anew: nobody knows what it does. */
function draftsAbove(cell: Draft['cell'], role: string, byName: Map<string, Draft>): Draft[] {
  const found = new Map<string, Draft>();
  let next = cell.inputs[role]!.sources.flatMap((source) => (source.kind === 'output' ? [source.cell] : []));
  while (next.length > 0) {
    const fresh = next.flatMap((name) => byName.get(name) ?? []).filter((draft) => !found.has(draft.cell.name) && isBuiltin(draft));
    for (const draft of fresh) found.set(draft.cell.name, draft);
    next = fresh.flatMap((draft) => draft.cell.reads);
  }
  return [...found.values()];
}

const isBuiltin = ({ cell: { action } }: Draft): boolean => action.kind === 'step' && 'builtin' in action.module;

function asUpstream({ cell }: Draft): UpstreamStep {
  const { uses, options } = cell.action as { uses: string; options: Record<string, Json> };
  return { cell: cell.name, uses, options };
}
