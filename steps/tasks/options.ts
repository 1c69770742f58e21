/** Checks options of a step that apply only to some tasks. */
import type { OptionProblem } from '../../engine/step.ts';

/** `optionsOf`: for each task the options that do not apply to every task. */
export function optionsOfOtherTasks(
  options: Record<string, unknown> & { task: string },
  optionsOf: Record<string, readonly string[]>,
): OptionProblem[] {
  const strange = [...new Set(Object.values(optionsOf).flat())].filter(
    (name) => options[name] !== undefined && !optionsOf[options.task]!.includes(name),
  );
  return strange.map((option) => {
    const tasks = Object.keys(optionsOf).filter((task) => optionsOf[task]!.includes(option));
    return { option, message: `\`${option}\` applies only to ${tasks.join(' and ')}, not to ${options.task}` };
  });
}
