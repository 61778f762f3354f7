// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { shown } from "./format";
import { Scroll } from "./scroll";

export interface Column<Row> {
  id: string;
  title: string;
  /** What it means, where the title is short. */
  help?: string;
  /** What it is sorted by; null comes last. A column of nulls cannot be sorted. */
  value: (row: Row) => number | string | null;
  /** What is shown; without it the value. */
  text?: (row: Row) => string;
  content?: (row: Row) => ComponentChildren;
}

interface Props<Row> {
  id: string;
  caption: string;
  /** What a row is, in the plural. */
  what: string;
  columns: Column<Row>[];
  rows: readonly Row[];
  rowKey: (row: Row) => string | number;
  /** Column by which it is sorted at first, the greatest first; none: in the order of the rows. */
  sortedBy?: string;
  /** Rows that stay at the end, whatever the order. */
  footer?: readonly Row[];
}

const ROWS_SHOWN = 25;
const ROWS_MORE = 500;

/** A table that can be sorted by each column and searched in all of its text. */
export function SortedTable<Row>(props: Props<Row>) {
  const { id, caption, what, columns, rows, rowKey } = props;
  const [order, setOrder] = useState({ id: props.sortedBy ?? "", isAscending: false });
  const [query, setQuery] = useState("");
  const [most, setMost] = useState(ROWS_SHOWN);
  const sorted = useMemo(
    () => sort(rows, columns.find((column) => column.id === order.id), order.isAscending),
    [rows, columns, order],
  );
  const found = useMemo(() => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return sorted;
    return sorted.filter((row) => {
      const text = columns.map((column) => textOf(column, row)).join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }, [sorted, columns, query]);
  const kinds = useMemo(() => columns.map((column) => kindOf(column, rows)), [columns, rows]);
  return (
    <div class="sorted-table">
      <div class="tools">
        <label>
          <span class="label">Search</span>
          <input
            type="search"
            id={`${id}-search`}
            value={query}
            onInput={(event) => setQuery(event.currentTarget.value)}
          />
        </label>
        <p role="status">
          {found.length === rows.length
            ? `${rows.length.toLocaleString("en")} ${what}`
            : `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${what}`}
        </p>
      </div>
      <Scroll label={caption}>
        <table id={id}>
          <caption class="visually-hidden">{caption}</caption>
          <thead>
            <tr>
              {columns.map((column, index) => {
                const isOrder = column.id === order.id;
                const isNumber = kinds[index] === "number";
                return (
                  <th
                    key={column.id}
                    scope="col"
                    class={kinds[index]}
                    data-column={column.id}
                    title={column.help}
                    aria-sort={
                      isOrder ? (order.isAscending ? "ascending" : "descending") : undefined
                    }
                  >
                    {kinds[index] === "picture" ? (
                      column.title
                    ) : (
                      <button
                        type="button"
                        onClick={() =>
                          setOrder({
                            id: column.id,
                            isAscending: isOrder ? !order.isAscending : !isNumber,
                          })
                        }
                      >
                        {column.title}
                        <span class="arrow" aria-hidden="true">
                          {isOrder ? (order.isAscending ? "\u25b2" : "\u25bc") : ""}
                        </span>
                      </button>
                    )}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {found.slice(0, most).map((row) => (
              <RowOf key={rowKey(row)} row={row} {...{ id: rowKey(row), columns, kinds }} />
            ))}
          </tbody>
          {props.footer !== undefined && (
            <tfoot>
              {props.footer.map((row) => (
                <RowOf key={rowKey(row)} row={row} {...{ id: rowKey(row), columns, kinds }} />
              ))}
            </tfoot>
          )}
        </table>
      </Scroll>
      {found.length > most && (
        <button type="button" class="more" onClick={() => setMost(most + ROWS_MORE)}>
          {found.length - most <= ROWS_MORE
            ? `Show all ${found.length.toLocaleString("en")}`
            : `Show ${ROWS_MORE} more of ${found.length.toLocaleString("en")}`}
        </button>
      )}
      {most > ROWS_SHOWN && (
        <button type="button" class="more" onClick={() => setMost(ROWS_SHOWN)}>
          Show {ROWS_SHOWN} only
        </button>
      )}
    </div>
  );
}

type Kind = "number" | "text" | "picture";

interface RowProps<Row> {
  id: string | number;
  row: Row;
  columns: readonly Column<Row>[];
  kinds: readonly Kind[];
}

function RowOf<Row>({ id, row, columns, kinds }: RowProps<Row>) {
  return (
    <tr data-row={id}>
      {columns.map((column, index) => (
        <td
          key={column.id}
          class={kinds[index]}
          data-column={column.id}
          data-value={column.value(row) ?? undefined}
        >
          {column.content ? column.content(row) : textOf(column, row)}
        </td>
      ))}
    </tr>
  );
}

function textOf<Row>(column: Column<Row>, row: Row): string {
  const value = column.value(row);
  if (value === null) return "-";
  return typeof value === "string" ? (column.text?.(row) ?? value).replace(/ %$/, "\u00a0%") : shown(column.text?.(row) ?? `${value}`);
}

function kindOf<Row>(column: Column<Row>, rows: readonly Row[]): Kind {
  const value = rows.map(column.value).find((one) => one !== null);
  if (value === undefined && column.content !== undefined) return "picture";
  return typeof value === "number" ? "number" : "text";
}

function sort<Row>(rows: readonly Row[], column: Column<Row> | undefined, isAscending: boolean): Row[] {
  if (column === undefined) return [...rows];
  const sign = isAscending ? 1 : -1;
  return [...rows].sort((a, b) => {
    const left = column.value(a);
    const right = column.value(b);
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    if (typeof left === "number" && typeof right === "number") return sign * (left - right);
    return sign * String(left).localeCompare(String(right), "en", { numeric: true });
  });
}
