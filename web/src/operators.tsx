// SPDX-License-Identifier: Apache-2.0
import { useMemo } from "preact/hooks";
import { AddedBar } from "./bar";
import type { OperatorEntry, OperatorTime, PageReport, Prediction } from "./data";
import { bytes, count, seconds, share } from "./format";
import { Section } from "./parts";
import { type Column, SortedTable } from "./table";
import { Timeline } from "./timeline";

interface Props {
  report: PageReport;
  prediction: Prediction | undefined;
}

interface Row {
  index: number;
  entry: OperatorEntry;
  time: OperatorTime | undefined;
  /** Likely counts by cause: pages loaded, lines missed, exits. */
  counts: Record<string, number>;
  source: readonly [name: string, share: number] | null;
}

export function Operators({ report, prediction }: Props) {
  const entries = report.show.operators?.rows;
  const rows = useMemo(() => rowsOf(report, prediction), [report, prediction]);
  const columns = useMemo(() => columnsOf(report, prediction), [report, prediction]);
  return (
    <Section id="where" title="Where">
      {entries === undefined || entries.length === 0 ? (
        <p>{report.show.no_attribution || "Nothing told of operators: a model or annotations do."}</p>
      ) : (
        <SortedTable
          id="operators"
          caption="Operators"
          what="operators"
          columns={columns}
          rows={rows}
          rowKey={(row) => row.index}
          sortedBy={prediction === undefined ? "footprint" : "added"}
        />
      )}
      <Timeline report={report} prediction={prediction} />
    </Section>
  );
}

function rowsOf(report: PageReport, prediction: Prediction | undefined): Row[] {
  const times = new Map(prediction?.steady.operators.map((row) => [row.index, row]));
  const causes = new Map(prediction?.steady.items.map((item) => [item.what, item.cause]));
  return (report.show.operators?.rows ?? []).map((entry) => {
    const time = times.get(entry.index);
    const counts: Record<string, number> = {};
    for (const [what, value] of Object.entries(time?.likely_counts ?? {})) {
      const cause = causes.get(what) ?? "";
      counts[cause] = (counts[cause] ?? 0) + value;
    }
    return { index: entry.index, entry, time, counts, source: mainSource(entry) };
  });
}

/** Where most lines come from that the operator had not used before itself. */
function mainSource(entry: OperatorEntry): readonly [string, number] | null {
  const counts = Object.entries(entry.use.line?.access_counts_by_source ?? {}).filter(
    ([name]) => name !== "same_operator",
  );
  const total = counts.reduce((sum, [, value]) => sum + value, 0);
  const [first] = counts.sort((a, b) => b[1] - a[1]);
  return first === undefined || total === 0 ? null : [first[0], first[1] / total];
}

function columnsOf(report: PageReport, prediction: Prediction | undefined): Column<Row>[] {
  const native = (row: Row) => row.time?.native_seconds ?? row.entry.native_time?.median_seconds ?? null;
  const most = Math.max(...(prediction?.steady.operators ?? []).map((row) => row.added_seconds.likely), 0);
  const counted = (id: string, title: string, cause: string, help: string): Column<Row> => ({
    id,
    title,
    help,
    value: (row) => (row.time === undefined ? null : (row.counts[cause] ?? 0)),
    text: (row) => count(Math.round(row.counts[cause] ?? 0)),
  });
  const predicted: Column<Row>[] = [
    {
      id: "added",
      title: "adds",
      help: "what the enclave adds to its native time",
      value: (row) => row.time?.added_seconds.likely ?? null,
      text: (row) => seconds(row.time?.added_seconds.likely ?? 0),
    },
    {
      id: "causes",
      title: "by cause",
      help: "what the enclave adds, by cause",
      value: () => null,
      content: (row) =>
        row.time && <AddedBar time={row.time} titles={report.titles.causes} most_seconds={most} />,
    },
  ];
  return [
    { id: "index", title: "#", value: (row) => row.index },
    { id: "name", title: "operator", value: (row) => row.entry.name },
    { id: "type", title: "type", value: (row) => row.entry.type },
    ...(prediction === undefined ? [] : predicted),
    { id: "native", title: "natively", value: native, text: (row) => seconds(native(row) ?? 0) },
    {
      id: "footprint",
      title: "footprint",
      help: "distinct pages that it accesses",
      value: (row) => row.entry.use.page?.footprint_bytes ?? null,
      text: (row) => bytes(row.entry.use.page?.footprint_bytes ?? 0),
    },
    ...(prediction === undefined
      ? []
      : [
          counted("loads", "page loads", "paging", "pages loaded into the EPC"),
          counted("misses", "line misses", "encryption", "lines that enter or leave the last-level cache"),
          counted("exits", "exits", "transitions", "OCALLs and other exits"),
        ]),
    {
      id: "source",
      title: "lines come from",
      help: "where most lines were used before that the operator had not used itself",
      value: (row) => row.source?.[0] ?? null,
      text: (row) => {
        if (row.source === null) return "-";
        const [name, part] = row.source;
        return `${report.titles.sources[name] ?? name}, ${share(part, 1)}`;
      },
    },
  ];
}
