// SPDX-License-Identifier: Apache-2.0
// What is compared, and its values as cells of a table.
import { DifferenceBar } from "../bar";
import type { Change, Changes, Comparison, ComparisonPage, Side } from "../data";
import { count, range, ratio, seconds, shown, signedCount, signedSeconds } from "../format";
import type { Cell } from "../parts";

export interface Chosen {
  page: ComparisonPage;
  comparison: Comparison;
  changes: Changes;
  baseline: Side;
  side: Side;
  /** Index of the comparison. */
  platform: number;
  /** Index of the changes in it. */
  other: number;
}

/** How a value and its difference are written. */
interface Format {
  one: (value: number) => string;
  signed: (value: number) => string;
}

export const SECONDS: Format = { one: seconds, signed: signedSeconds };
export const COUNT: Format = { one: count, signed: signedCount };

/** What `changeCells` are called; `n:` as in `DataTable`. */
export function changeHeadings({ baseline, side }: Chosen): string[] {
  return [`n:${baseline.label}`, `n:${side.label}`, "n:difference", "from less to more", "certain"];
}

/** A change: before, after, the difference with its range, also as a bar, and what is certain. */
export function changeCells(
  page: ComparisonPage,
  change: Change,
  scale: readonly Change[],
  format: Format = SECONDS,
): Cell[] {
  const [from, to] = extent(scale);
  return [
    { content: shown(format.one(change.before.likely)), value: change.before.likely },
    { content: shown(format.one(change.after.likely)), value: change.after.likely },
    differenceCell(change, format),
    { content: <DifferenceBar change={change} from={from} to={to} /> },
    { content: <Direction page={page} change={change} /> },
  ];
}

export function differenceCell(change: Change, format: Format = SECONDS): Cell {
  const { difference, direction } = change;
  return {
    content: shown(format.signed(difference.likely)),
    value: difference.likely,
    ...(direction === "same" ? {} : { note: shown(range(difference, format.signed)) }),
  };
}

export function Direction({ page, change }: { page: ComparisonPage; change: Change }) {
  return <span class="direction">{page.titles.directions[change.direction]}</span>;
}

/** The scale of some differences; 0 is on it. */
export function extent(changes: readonly Change[]): [number, number] {
  return [
    Math.min(0, ...changes.map((one) => one.difference.low)),
    Math.max(0, ...changes.map((one) => one.difference.high)),
  ];
}

export function timesAsMuch(before: number, after: number): string {
  return before ? `${ratio(after / before)}\u00d7` : "-";
}
