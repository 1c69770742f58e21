/** Options of a step that mean something to some tasks only. */
import type { OptionProblem } from '../../engine/step.ts';

/** `optionsOf`: of each task the options that are not every task's. */
export function optionsOfOtherTasks(
  options: Record<string, unknown> & { task: string },
  optionsOf: Record<string, readonly string[]>,
): OptionProblem[] {
  const strange = [...new Set(Object.values(optionsOf).flat())].filter(
    (name) => options[name] !== undefined && !optionsOf[options.task]!.includes(name),
  );
  return strange.map((option) => {
    const tasks = Object.keys(optionsOf).filter((task) => optionsOf[task]!.includes(option));
    return { option, message: `${option} means nothing for ${options.task}; it is of ${tasks.join(' and ')}` };
  });
}
