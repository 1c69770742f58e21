/** Computes how many rows each split gets, and assigns groups so that the splits come as near to that as possible. */

/** How many of `rows` each ratio gets: by largest remainder, and at least one. There must be at least as many rows as ratios. */
export function sizesOf(rows: number, ratios: readonly number[]): number[] {
  const sizes = apportion(rows, ratios);
  for (const i of sizes.keys())
    while (sizes[i]! < 1) {
      sizes[sizes.indexOf(Math.max(...sizes))]!--;
      sizes[i]!++;
    }
  return sizes;
}

/** Divides `total` into whole numbers proportional to `weights`, which are not all 0, by largest remainder. */
function apportion(total: number, weights: readonly number[]): number[] {
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  const exact = weights.map((weight) => (weight / all) * total);
  // A product such as 0.1 * 30 misses the whole number by the last bit.
  const sizes = exact.map((share) => Math.floor(share + 1e-9));
  const byRemainder = weights.map((_, i) => i).sort((a, b) => exact[b]! - sizes[b]! - (exact[a]! - sizes[a]!) || a - b);
  const left = total - sizes.reduce((sum, size) => sum + size, 0);
  for (const i of byRemainder.slice(0, left)) sizes[i]!++;
  return sizes;
}

/** Divides `rows` single rows so that the splits approach `targets`. `taken`: the rows they already have, maybe more than the target. */
export function roomsOf(rows: number, targets: readonly number[], taken: readonly number[]): number[] {
  const rooms = targets.map((target, s) => Math.max(0, target - taken[s]!));
  const room = rooms.reduce((sum, one) => sum + one, 0);
  if (room === rows) return rooms;
  return room === 0 ? apportion(rows, targets) : apportion(rows, rooms);
}

/** Rows that stay together: their number in each stratum. */
export type Group = ReadonlyMap<string, number>;

export interface Stratum {
  /** The target number of rows of each split. */
  targets: readonly number[];
  /** The rows that each split already has. */
  taken: readonly number[];
  /** Rows without a group, which are assigned after the groups. */
  singles: number;
}

/**
 * The split of each group, in the order of `groups`. Each goes to the last split in which it still fits, and to train
 * if no other fits; then single groups move, and pairs swap, as long as that reduces the distance of all splits from
 * their targets.
 */
export function placeGroups(groups: readonly Group[], strata: ReadonlyMap<string, Stratum>): number[] {
  const taken = new Map([...strata].map(([name, stratum]) => [name, [...stratum.taken]]));
  const splits = [...strata.values()][0]!.targets.length;
  const totals = Array.from({ length: splits }, (_, s) => [...taken.values()].reduce((sum, of) => sum + of[s]!, 0));
  const add = (group: Group, split: number, sign = 1) => {
    for (const [name, rows] of group) {
      taken.get(name)![split]! += sign * rows;
      totals[split]! += sign * rows;
    }
  };
  const quotas = quotasOf(groups, strata);
  const fits = (group: Group, split: number) =>
    [...group].every(([name, rows]) => taken.get(name)![split]! + rows <= quotas.get(name)![split]!);
  const placed = groups.map((group) => {
    let split = splits - 1;
    while (split > 0 && !fits(group, split)) split--;
    add(group, split);
    return split;
  });
  const far = [...strata].some(([name, stratum]) => distanceOf(stratum, taken.get(name)!) > 0);
  if (far && groups.length <= MOST_TO_MOVE) improve(groups, placed, { strata, taken, totals, add });
  return placed;
}

/** Each split gets its share of the groups and of the single rows, because the two are not alike. */
function quotasOf(groups: readonly Group[], strata: ReadonlyMap<string, Stratum>): Map<string, number[]> {
  const rows = new Map<string, number>();
  for (const group of groups) for (const [name, count] of group) rows.set(name, (rows.get(name) ?? 0) + count);
  return new Map(
    [...strata].map(([name, { targets, taken }]) => {
      const rooms = roomsOf(rows.get(name) ?? 0, targets, taken);
      return [name, rooms.map((room, s) => taken[s]! + room)];
    }),
  );
}

interface Placing {
  strata: ReadonlyMap<string, Stratum>;
  taken: Map<string, number[]>;
  /** The rows that each split has. */
  totals: number[];
  add(group: Group, split: number, sign?: number): void;
}

function improve(groups: readonly Group[], placed: number[], { strata, taken, totals, add }: Placing): void {
  const singles = [...strata.values()].reduce((sum, stratum) => sum + stratum.singles, 0);
  /** The distance in the strata of these groups. */
  const distance = (of: Group[]) => {
    let sum = 0;
    for (const name of new Set(of.flatMap((group) => [...group.keys()]))) sum += distanceOf(strata.get(name)!, taken.get(name)!);
    // A split without rows is worse than any other distance.
    const empty = totals.filter((rows) => rows === 0).length;
    return sum + (empty > singles ? 1e18 * empty : 0);
  };
  const move = (i: number, to: number) => {
    add(groups[i]!, placed[i]!, -1);
    add(groups[i]!, to);
    placed[i] = to;
  };
  /** Moves each of the groups to its split of `to`, if that reduces their distance. */
  const improves = (indexes: number[], to: number[]): boolean => {
    const of = indexes.map((i) => groups[i]!);
    const from = indexes.map((i) => placed[i]!);
    const before = distance(of);
    for (const [k, i] of indexes.entries()) move(i, to[k]!);
    if (distance(of) < before - 1e-9) return true;
    for (const [k, i] of indexes.entries()) move(i, from[k]!);
    return false;
  };
  for (let pass = 0, gained = true; gained && pass < MOST_PASSES; pass++) {
    gained = false;
    for (let i = 0; i < groups.length; i++)
      for (let to = 0; to < totals.length; to++) if (to !== placed[i] && improves([i], [to])) gained = true;
    if (groups.length > MOST_FOR_PAIRS) continue;
    for (let i = 0; i < groups.length; i++)
      for (let j = i + 1; j < groups.length; j++) if (placed[i] !== placed[j] && improves([i, j], [placed[j]!, placed[i]!])) gained = true;
  }
}

const MOST_PASSES = 20;

/** With so many groups the first placement is close enough to the targets. */
const MOST_TO_MOVE = 20_000;

/** With more groups than this it is not necessary to try each pair. */
const MOST_FOR_PAIRS = 300;

/** The sum of the squared distances from the targets, after the single rows have filled the gaps. */
function distanceOf({ targets, singles }: Stratum, taken: readonly number[]): number {
  const rooms = roomsOf(singles, targets, taken);
  return targets.reduce((sum, target, s) => sum + (taken[s]! + rooms[s]! - target) ** 2, 0);
}
