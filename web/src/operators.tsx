// SPDX-License-Identifier: Apache-2.0
import { useMemo } from "preact/hooks";
import type { OperatorEntry, OperatorTime, PageReport, Prediction } from "./data";
import { bytes, seconds } from "./format";
import { type Column, SortedTable } from "./table";

interface Props {
  report: PageReport;
  prediction: Prediction | undefined;
}

interface Row {
  index: number;
  entry: OperatorEntry;
  time: OperatorTime | undefined;
}

export function Operators({ report, prediction }: Props) {
  const entries = report.show.operators?.rows;
  const rows = useMemo(() => {
    const times = new Map(prediction?.steady.operators.map((row) => [row.index, row]));
    return (entries ?? []).map((entry) => ({
      index: entry.index,
      entry,
      time: times.get(entry.index),
    }));
  }, [entries, prediction]);
  const columns = useMemo(() => columnsOf(prediction !== undefined), [prediction]);
  return (
    <section id="where" aria-labelledby="where-title">
      <h2 id="where-title">Where</h2>
      {rows.length === 0 ? (
        <p>{report.show.no_attribution || "Nothing told of operators."}</p>
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
    </section>
  );
}

function columnsOf(isPredicted: boolean): Column<Row>[] {
  const native = (row: Row) => row.time?.native_seconds ?? row.entry.native_time?.median_seconds ?? null;
  const columns: (Column<Row> | false)[] = [
    { id: "index", title: "#", value: (row) => row.index },
    { id: "name", title: "operator", value: (row) => row.entry.name },
    { id: "type", title: "type", value: (row) => row.entry.type },
    isPredicted && {
      id: "added",
      title: "adds",
      value: (row) => row.time?.added_seconds.likely ?? null,
      text: (row) => seconds(row.time?.added_seconds.likely ?? 0),
    },
    { id: "native", title: "natively", value: native, text: (row) => seconds(native(row) ?? 0) },
    {
      id: "footprint",
      title: "footprint",
      value: (row) => row.entry.use.page?.footprint_bytes ?? null,
      text: (row) => bytes(row.entry.use.page?.footprint_bytes ?? 0),
    },
  ];
  return columns.filter((column) => column !== false);
}
