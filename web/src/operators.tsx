// SPDX-License-Identifier: Apache-2.0
import { useMemo } from "preact/hooks";
import { AddedBar } from "./bar";
import { BlockUse } from "./blocks";
import type { MemoryUse, OperatorTime, PageReport, Prediction } from "./data";
import { bytes, expectedCount, fixed, seconds, wholeCount } from "./format";
import { Name, Section } from "./parts";
import { type Column, SortedTable } from "./table";
import { Timeline } from "./timeline";

interface Props {
  report: PageReport;
  prediction: Prediction | undefined;
}

interface Row {
  /** Null: what is done between operators. */
  index: number | null;
  name: string;
  type: string;
  use: Record<string, MemoryUse>;
  nativeSeconds: number | null;
  time: OperatorTime | undefined;
  /** Likely counts by cause: pages loaded, lines missed, exits. */
  counts: Record<string, number>;
  source: readonly [name: string, share: number] | null;
}

export function Operators({ report, prediction }: Props) {
  const section = report.show.operators;
  const rows = useMemo(() => rowsOf(report, prediction), [report, prediction]);
  const columns = useMemo(() => columnsOf(report, prediction), [report, prediction]);
  return (
    <Section id="where" title="Where">
      {section === null ? (
        <p>{report.show.no_attribution || "Nothing told of operators: a model or annotations do."}</p>
      ) : (
        <SortedTable
          id="operators"
          caption="Operators"
          what="operators"
          columns={columns}
          rows={rows.filter((row) => row.index !== null)}
          footer={rows.filter((row) => row.index === null)}
          rowKey={(row) => row.index ?? "between"}
          sortedBy={prediction === undefined ? "footprint" : "added"}
        />
      )}
      <Timeline report={report} />
      {report.show.spatial_use !== null && <BlockUse report={report} />}
    </Section>
  );
}

function rowsOf(report: PageReport, prediction: Prediction | undefined): Row[] {
  const section = report.show.operators;
  if (section === null) return [];
  const times = new Map(prediction?.steady.operators.map((row) => [row.index, row]));
  const causes = new Map(prediction?.steady.items.map((item) => [item.what, item.cause]));
  const row = (
    index: number | null,
    name: string,
    type: string,
    use: Record<string, MemoryUse>,
    measured: number | null,
  ): Row => {
    const time = times.get(index);
    const counts: Record<string, number> = {};
    for (const [what, value] of Object.entries(time?.likely_counts ?? {})) {
      const cause = causes.get(what) ?? "";
      counts[cause] = (counts[cause] ?? 0) + value;
    }
    const nativeSeconds = time?.native_seconds ?? measured;
    return { index, name, type, use, nativeSeconds, time, counts, source: mainSource(use) };
  };
  return [
    ...section.rows.map((entry) =>
      row(entry.index, entry.name, entry.type, entry.use, entry.native_time?.median_seconds ?? null),
    ),
    row(null, "(no operator)", "", section.between, null),
  ];
}

/** Where most lines come from that the operator had not used before itself. */
function mainSource(use: Record<string, MemoryUse>): readonly [string, number] | null {
  const counts = Object.entries(use["line"]?.access_counts_by_source ?? {}).filter(
    ([name]) => name !== "same_operator",
  );
  const total = counts.reduce((sum, [, value]) => sum + value, 0);
  const [first] = counts.sort((a, b) => b[1] - a[1]);
  return first === undefined || total === 0 ? null : [first[0], first[1] / total];
}

function columnsOf(report: PageReport, prediction: Prediction | undefined): Column<Row>[] {
  const most = (prediction?.steady.operators ?? [])
    .filter((row) => row.index !== null)
    .reduce((found, row) => Math.max(found, row.added_seconds.likely), 0);
  const counted = (
    id: string,
    title: string,
    cause: string,
    help: string,
    text: (value: number) => string,
  ): Column<Row> => ({
    id,
    title,
    help,
    value: (row) => (row.time === undefined ? null : (row.counts[cause] ?? 0)),
    text: (row) => text(row.counts[cause] ?? 0),
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
        row.index !== null &&
        row.time && <AddedBar time={row.time} titles={report.titles.causes} most_seconds={most} />,
    },
  ];
  return [
    { id: "index", title: "#", value: (row) => row.index },
    { id: "name", title: "operator", value: (row) => row.name, content: (row) => <Name text={row.name} /> },
    { id: "type", title: "type", value: (row) => row.type, content: (row) => <Name text={row.type} /> },
    ...(prediction === undefined ? [] : predicted),
    { id: "native", title: "natively", value: (row) => row.nativeSeconds, text: (row) => seconds(row.nativeSeconds ?? 0) },
    {
      id: "footprint",
      title: "footprint",
      help: "distinct pages that it accesses",
      value: (row) => row.use["page"]?.footprint_bytes ?? null,
      text: (row) => bytes(row.use["page"]?.footprint_bytes ?? 0),
    },
    ...(prediction === undefined
      ? []
      : [
          counted("loads", "page loads", "paging", "pages loaded into the EPC", wholeCount),
          counted("misses", "line misses", "encryption", "lines that enter or leave the last-level cache", wholeCount),
          counted("exits", "exits", "transitions", "OCALLs and other exits", expectedCount),
        ]),
    {
      id: "source",
      title: "lines come from",
      help: "where most lines were used before that the operator had not used itself",
      value: (row) => row.source?.[0] ?? null,
      text: (row) => {
        if (row.source === null) return "-";
        const [name, part] = row.source;
        const most = part > 0.995 && part < 1 ? ">99" : fixed(100 * part, 0);
        return `${report.titles.sources[name] ?? name}, ${most} %`;
      },
    },
  ];
}
