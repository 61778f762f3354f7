// SPDX-License-Identifier: Apache-2.0
// What a page is made of: the documents that `sgxlens show --json` and `predict --json` print.
import type { PredictReport } from "../generated/predict";
import type { ShowReport } from "../generated/show";

export type * from "../generated/predict";
export type { ShowReport, OperatorEntry, MemoryUse } from "../generated/show";

export type Cause = "compute" | "transitions" | "encryption" | "paging" | "runtime";
export const CAUSES: readonly Cause[] = ["compute", "transitions", "encryption", "paging", "runtime"];

/** As `PageReport` in sgxlens.report.page. */
export interface PageReport {
  title: string;
  cause_titles: Record<Cause, string>;
  verdicts: string[];
  first: number;
  no_prediction: string;
  show: ShowReport;
  predict: PredictReport | null;
}

export function readReport(): PageReport {
  const text = document.getElementById("data")?.textContent ?? "";
  return JSON.parse(text) as PageReport;
}
