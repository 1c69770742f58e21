/** How many of `rows` each ratio gets: by largest remainder, and at least one. */
export function sizesOf(rows: number, ratios: readonly number[]): number[] {
  const exact = ratios.map((ratio) => ratio * rows);
  // A product like 0.1 * 30 misses the whole number by the last bit.
  const sizes = exact.map((share) => Math.floor(share + 1e-9));
  const byRemainder = ratios.map((_, i) => i).sort((a, b) => exact[b]! - sizes[b]! - (exact[a]! - sizes[a]!) || a - b);
  const left = rows - sizes.reduce((sum, size) => sum + size, 0);
  for (const i of byRemainder.slice(0, left)) sizes[i]!++;
  for (const i of sizes.keys())
    while (sizes[i]! < 1) {
      sizes[sizes.indexOf(Math.max(...sizes))]!--;
      sizes[i]!++;
    }
  return sizes;
}
