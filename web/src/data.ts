// SPDX-License-Identifier: Apache-2.0
// What a page is made of: the documents that `sgxlens show --json` and `predict --json` print, and
// what only the page draws. The interfaces here are those of sgxlens.report.page and .pictures.
import type { RankedAdvice, Silence, BrokenRule } from "../generated/advise";
import type { Change, CompareReport, Comparison } from "../generated/compare";
import type { PredictReport } from "../generated/predict";
import type { RegionEntry, ShowReport } from "../generated/show";

export type {
  Change,
  Comparison,
  OperatorChange,
  OperatorSide,
  Side,
  SizeChange,
  TimeChanges,
  TypeChange,
} from "../generated/compare";
export type { Gain, RankedAdvice } from "../generated/advise";
export type {
  OperatorTime,
  PhaseTime,
  Prediction,
  Range,
  Swing,
} from "../generated/predict";
export type { LineByteCounts, MemoryUse, RegionEntry, ShowReport } from "../generated/show";

export type Cause = "compute" | "transitions" | "encryption" | "paging" | "runtime";
export const CAUSES: readonly Cause[] = ["compute", "transitions", "encryption", "paging", "runtime"];

/** One recording against the baseline. */
export type Changes = Comparison["changes"][number];
export type Direction = Change["direction"];

export type Granularity = "line" | "page";

export interface CurveGroup {
  name: string;
  access_count: number;
  miss_counts: number[];
}

export interface Curves {
  capacity_bytes: number[];
  all: CurveGroup;
  by_role: CurveGroup[];
  by_source: CurveGroup[];
  by_region: CurveGroup[];
}

export interface Picture {
  page_count: number;
  step_count: number;
  cell_page_count: number;
  column_step_count: number;
  roles: string[];
  cell_addresses: number[];
  cell_roles: number[];
  cell_regions: (number | null)[];
  column_operator_indices: number[][];
  rectangle_columns: number[];
  rectangle_cells: number[];
  rectangle_cell_counts: number[];
  rectangle_uses: number[];
}

export type Advice = RankedAdvice["advice"];
export type Evidence = Advice["evidence"][number];

export interface AdvicePart {
  advice: RankedAdvice[];
  silent: Silence[];
  broken: BrokenRule[];
  /** Of each piece of advice, what its new recording says: names and sentences. */
  facts: [string, string][][];
}

export interface PageReport {
  schema: "sgxlens-report";
  title: string;
  titles: {
    causes: Record<Cause, string>;
    sources: Record<string, string>;
    policies: Record<string, string>;
    gains: Record<string, string>;
    changes: Record<Advice["changes"], string>;
    no_advice: string;
    advice_order: string;
  };
  verdicts: string[];
  first: number;
  no_prediction: string;
  show: ShowReport;
  predict: PredictReport | null;
  advice: (AdvicePart | null)[];
  curves: Record<Granularity, Curves> | null;
  picture: Picture | null;
}

export interface ComparisonPage {
  schema: "sgxlens-comparison";
  title: string;
  titles: {
    causes: Record<Cause, string>;
    sources: Record<string, string>;
    sizes: Record<string, string>;
    needed_sizes: string[];
    directions: Record<Direction, string>;
  };
  verdicts: string[][];
  first: number;
  compare: CompareReport;
}

/** The data of the page: JSON, compressed, in base64. */
export async function readPage(): Promise<PageReport | ComparisonPage> {
  const text = atob(document.getElementById("data")?.textContent ?? "");
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return (await new Response(stream).json()) as PageReport | ComparisonPage;
}

/** A region in a few words: its file, or the operator that reads or writes most of it. */
export function regionName(region: RegionEntry, operatorNames: ReadonlyMap<number, string>): string {
  const kind = region.kind === region.role ? "" : `${region.kind} `;
  if (region.name !== "") return kind + (region.name.split("/").at(-1) || region.name);
  if (region.kind !== "constant" && region.kind !== "produced") return region.kind;
  const users = region.users.filter(
    (user) =>
      user.operator_index !== null &&
      (region.kind === "produced" ? user.written_line_count : user.read_line_count) > 0,
  );
  const first = users[0]?.operator_index ?? null;
  if (first === null) return region.kind;
  const more = users.length > 1 ? ` +${users.length - 1}` : "";
  return `${kind}by ${operatorNames.get(first) ?? first}${more}`;
}

export function operatorNames(show: ShowReport): Map<number, string> {
  return new Map(show.operators?.rows.map((row) => [row.index, row.name]));
}
