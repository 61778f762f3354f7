// SPDX-License-Identifier: Apache-2.0
import { useMemo } from "preact/hooks";
import { DifferenceBar } from "../bar";
import type { OperatorChange, OperatorSide, TimeChanges, TypeChange } from "../data";
import { bytes, count, expectedCount, range, seconds, shown, signedSeconds } from "../format";
import { DataTable, Name, Section } from "../parts";
import { type Column, SortedTable } from "../table";
import { type Chosen, Direction, extent } from "./values";

const NO_OPERATOR = "(no operator)";

/** What changed, by operator and by type of operator. */
export function Where({ chosen, times }: { chosen: Chosen; times: TimeChanges }) {
  const { graph } = times;
  if (graph === null) {
    return (
      <Section id="where" title="Where">
        <p>Operators are not known in both recordings.</p>
      </Section>
    );
  }
  const total = graph.matched_count + graph.before_only_count + graph.after_only_count;
  const rows = times.operators.filter((row) => row.type !== "");
  return (
    <Section id="where" title="Where" lead={graph.sentence}>
      {graph.corresponds && (
        <>
          <h3>Operators</h3>
          <OperatorTable chosen={chosen} rows={times.operators} />
          {rows.length < total && (
            <p class="none">
              {shown(count(total - rows.length))} operators that differ least are left out; sgxlens
              compare --json has them.
            </p>
          )}
        </>
      )}
      <h3>Types of operators</h3>
      <TypeTable chosen={chosen} rows={times.types} />
    </Section>
  );
}

interface Located {
  row: OperatorChange;
  place: number;
}

function inside(side: OperatorSide | null): number | null {
  return side === null ? null : (side.native_seconds ?? 0) + side.added_seconds.likely;
}

/** How much longer it takes inside, native time included. */
function differs(row: OperatorChange): number {
  return (
    (row.after?.native_seconds ?? 0) - (row.before?.native_seconds ?? 0) + row.added_seconds.difference.likely
  );
}

function OperatorTable({ chosen, rows }: { chosen: Chosen; rows: readonly OperatorChange[] }) {
  const located = useMemo(() => rows.map((row, place) => ({ row, place })), [rows]);
  const columns = useMemo(() => operatorColumns(chosen, rows), [chosen.changes, chosen.baseline, rows]);
  return (
    <SortedTable
      id="operators"
      caption="Operators that changed"
      what="operators"
      columns={columns}
      rows={located.filter(({ row }) => row.type !== "")}
      footer={located.filter(({ row }) => row.type === "")}
      rowKey={({ place }) => place}
    />
  );
}

function operatorColumns(chosen: Chosen, rows: readonly OperatorChange[]): Column<Located>[] {
  const { page, baseline, side } = chosen;
  const [from, to] = extent(rows.map((row) => row.added_seconds));
  const pair = (
    id: string,
    title: string,
    help: string,
    of: (one: OperatorSide) => number | null,
    text: (value: number) => string,
  ): Column<Located>[] =>
    ([["before", baseline.label], ["after", side.label]] as const).map(([when, label]) => ({
      id: `${id}-${when}`,
      title: `${title} ${label}`,
      help,
      value: ({ row }) => {
        const one = row[when];
        return one === null ? null : of(one);
      },
      text: ({ row }) => {
        const one = row[when];
        return text((one === null ? null : of(one)) ?? 0);
      },
    }));
  return [
    { id: "name", title: "operator", value: ({ row }) => row.name || NO_OPERATOR, content: ({ row }) => <Name text={row.name || NO_OPERATOR} /> },
    { id: "type", title: "type", value: ({ row }) => row.type || null, content: ({ row }) => <Name text={row.type} /> },
    ...pair("inside", "inside", "native time and what the enclave adds", (one) => inside(one), seconds),
    {
      id: "differs",
      title: "differs",
      help: "how much longer it takes inside, native time included",
      value: ({ row }) => differs(row),
      text: ({ row }) => signedSeconds(differs(row)),
    },
    {
      id: "added",
      title: "added",
      help: "the difference of what the enclave adds, and its range",
      value: () => null,
      content: ({ row }) => <DifferenceBar change={row.added_seconds} from={from} to={to} />,
    },
    {
      id: "range",
      title: "added: range",
      value: ({ row }) => row.added_seconds.difference.likely,
      text: ({ row }) => range(row.added_seconds.difference, signedSeconds),
    },
    {
      id: "certain",
      title: "certain",
      value: ({ row }) => page.titles.directions[row.added_seconds.direction],
    },
    ...pair("loads", "page loads", "pages loaded into the EPC", (one) => one.page_load_count, expectedCount),
    ...pair("misses", "line misses", "lines that enter or leave the last-level cache", (one) => one.line_miss_count, expectedCount),
    ...pair("footprint", "footprint", "distinct pages that it accesses", (one) => one.footprint_bytes, bytes),
  ];
}

function TypeTable({ chosen, rows }: { chosen: Chosen; rows: readonly TypeChange[] }) {
  const { page, baseline, side } = chosen;
  const [from, to] = extent(rows.map((row) => row.added_seconds));
  return (
    <DataTable
      id="types"
      caption="Time inside of all operators of a type"
      headings={[
        "type",
        `n:count ${baseline.label}`,
        `n:count ${side.label}`,
        `n:inside ${baseline.label}`,
        `n:inside ${side.label}`,
        "n:differs",
        "added: from less to more",
        "n:added: range",
        "certain",
      ]}
      rows={rows.map((row) => {
        const before = row.before_native_seconds + row.added_seconds.before.likely;
        const after = row.after_native_seconds + row.added_seconds.after.likely;
        return [
          { content: <Name text={row.type || NO_OPERATOR} /> },
          row.type && count(row.before_count),
          row.type && count(row.after_count),
          { content: shown(seconds(before)), value: before },
          { content: shown(seconds(after)), value: after },
          { content: shown(signedSeconds(after - before)), value: after - before },
          { content: <DifferenceBar change={row.added_seconds} from={from} to={to} /> },
          shown(range(row.added_seconds.difference, signedSeconds)),
          { content: <Direction page={page} change={row.added_seconds} /> },
        ];
      })}
    />
  );
}
