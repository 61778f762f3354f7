// SPDX-License-Identifier: Apache-2.0
import { useMemo } from "preact/hooks";
import { type MemoryUse, operatorNames, type PageReport, type RegionEntry, regionName } from "./data";
import { bytes, clip, count, share } from "./format";
import { type Column, SortedTable } from "./table";

interface Props {
  report: PageReport;
  /** The regions that have curves, by their numbers as text; empty: what is of no region. */
  drawn: ReadonlySet<string>;
  chosen: string | null;
  choose: (region: string) => void;
}

export function regionKey(region: RegionEntry): string {
  return region.region === null ? "" : String(region.region);
}

/** What memory the phase uses; of most regions the curves can be drawn. */
export function Regions({ report, drawn, chosen, choose }: Props) {
  const rows = report.show.regions?.rows ?? [];
  const names = useMemo(() => operatorNames(report.show), [report]);
  if (rows.length === 0) return null;
  const use = (row: RegionEntry, granularity: string): MemoryUse | undefined => row.use[granularity];
  const columns: Column<RegionEntry>[] = [
    {
      id: "curve",
      title: "curve",
      help: "draw the curves of this region",
      value: () => null,
      content: (row) =>
        drawn.has(regionKey(row)) && (
          <input
            type="radio"
            name="region-row"
            aria-label={`Draw the curves of ${clip(regionName(row, names))}`}
            checked={regionKey(row) === chosen}
            onChange={() => choose(regionKey(row))}
          />
        ),
    },
    {
      id: "name",
      title: "region",
      value: (row) => regionName(row, names),
      content: (row) => <span title={row.name}>{clip(regionName(row, names))}</span>,
    },
    { id: "role", title: "role", value: (row) => row.role },
    {
      id: "lines",
      title: "lines",
      help: "distinct lines that are accessed",
      value: (row) => use(row, "line")?.footprint_bytes ?? null,
      text: (row) => bytes(use(row, "line")?.footprint_bytes ?? 0),
    },
    {
      id: "pages",
      title: "pages",
      help: "distinct pages that are accessed",
      value: (row) => use(row, "page")?.footprint_bytes ?? null,
      text: (row) => bytes(use(row, "page")?.footprint_bytes ?? 0),
    },
    {
      id: "written",
      title: "written",
      help: "lines of it that are written",
      value: (row) => (use(row, "line")?.written_block_count ?? 0) / (use(row, "line")?.block_count || 1),
      text: (row) => share(use(row, "line")?.written_block_count ?? 0, use(row, "line")?.block_count ?? 0),
    },
    {
      id: "accesses",
      title: "accesses",
      help: "accesses to lines",
      value: (row) => use(row, "line")?.access_count ?? null,
      text: (row) => count(use(row, "line")?.access_count ?? 0),
    },
    {
      id: "users",
      title: "operators",
      help: "operators that access it; the table has the first few",
      value: (row) => row.users.filter((user) => user.operator_index !== null).length,
    },
  ];
  return (
    <details id="regions-details" open={chosen !== null}>
      <summary>Regions of memory: {rows.length.toLocaleString("en")}</summary>
      <SortedTable
        id="regions"
        caption="Regions of memory"
        what="regions"
        columns={columns}
        rows={rows}
        rowKey={regionKey}
        sortedBy="lines"
      />
      {drawn.size < rows.length && <p class="none">Curves are there for the {drawn.size} largest.</p>}
    </details>
  );
}
