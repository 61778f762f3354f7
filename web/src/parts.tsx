// SPDX-License-Identifier: Apache-2.0
// What all sections are made of.
import type { ComponentChildren } from "preact";
import type { Range } from "./data";
import { clip, expectedCount, range, shown } from "./format";
import { Scroll } from "./scroll";

export interface Cell {
  content: ComponentChildren;
  /** The number that the text says, as JSON has it. */
  value?: number;
  note?: ComponentChildren;
}

/** A heading; with `n:` before it that of a column of numbers. */
export type Heading = string;

/** A count as the terminal has it, and below that its range. */
export function countCell(value: Range): Cell {
  const bounds = shown(range(value, expectedCount));
  const likely = shown(expectedCount(value.likely));
  return { content: likely, value: value.likely, ...(bounds === likely ? {} : { note: bounds }) };
}

interface TableProps {
  id: string;
  caption: ComponentChildren;
  headings: readonly Heading[];
  rows: readonly (readonly (string | Cell)[])[];
  footer?: readonly (string | Cell)[];
  /** What to say where there is no row. */
  none?: string;
}

const NUMBER = "n:";

/** A plain table; the first cell of a row is its heading. */
export function DataTable({ id, caption, headings, rows, footer, none }: TableProps) {
  const isNumber = headings.map((heading) => heading.startsWith(NUMBER));
  const row = (cells: readonly (string | Cell)[], key: number) => (
    <tr key={key}>
      {cells.map((one, index) => {
        const cell = typeof one === "string" ? { content: one } : one;
        const kind = isNumber[index] ? "number" : "text";
        const note = "note" in cell && cell.note !== undefined && <small>{cell.note}</small>;
        return index === 0 ? (
          <th
            key={index}
            scope="row"
            class={kind}
            data-value={"value" in cell ? cell.value : undefined}
          >
            {cell.content}
            {note}
          </th>
        ) : (
          <td key={index} class={kind} data-value={"value" in cell ? cell.value : undefined}>
            {cell.content}
            {note}
          </td>
        );
      })}
    </tr>
  );
  if (rows.length === 0 && none !== undefined) {
    return (
      <p class="none" id={id}>
        <span class="caption">{caption}</span>
        {none}
      </p>
    );
  }
  return (
    <Scroll {...(typeof caption === "string" ? { label: caption } : {})}>
      <table id={id}>
        <caption>
          <span>{caption}</span>
        </caption>
        <thead>
          <tr>
            {headings.map((heading, index) => (
              <th key={index} scope="col" class={isNumber[index] ? "number" : undefined}>
                {heading.replace(NUMBER, "")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{rows.map(row)}</tbody>
        {footer !== undefined && <tfoot>{row(footer, 0)}</tfoot>}
      </table>
    </Scroll>
  );
}

export function Section(props: { id: string; title: string; lead?: string; children: ComponentChildren }) {
  return (
    <section id={props.id} aria-labelledby={`${props.id}-title`}>
      <h2 id={`${props.id}-title`}>{props.title}</h2>
      {props.lead !== undefined && <p class="lead">{props.lead}</p>}
      {props.children}
    </section>
  );
}

const PART_MAX = 24;

/** Text in which names such as E-2288G and options are not broken. */
export function Prose({ text }: { text: string }) {
  return (
    <>
      {text.split(/(\s+)/).map((word, index) =>
        word.includes("-") && word.length <= PART_MAX ? (
          <span key={index} class="whole">
            {word}
          </span>
        ) : (
          word
        ),
      )}
    </>
  );
}

/** A name of whatever length, cut in the middle, which breaks after its separators sooner than elsewhere. */
export function Name({ text }: { text: string }) {
  const short = clip(text);
  const parts = short.split(/(?<=[./:_])(?![./:_])/);
  const broken = parts.map((part, place) => (place > 0 ? [<wbr />, part] : part));
  return short === text ? <>{broken}</> : <span title={text}>{broken}</span>;
}

export function Swatch({ kind }: { kind: string }) {
  return (
    <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
      <rect class={kind} width={10} height={10} />
    </svg>
  );
}

export function Legend({ items }: { items: readonly (readonly [kind: string, title: string])[] }) {
  return (
    <ul class="legend">
      {items.map(([kind, title]) => (
        <li key={kind}>
          <Swatch kind={kind} />
          {title}
        </li>
      ))}
    </ul>
  );
}

export function Sentences({ items }: { items: readonly string[] }) {
  return (
    <ul class="sentences">
      {items.map((item, index) => (
        <li key={index}>
          <Prose text={item} />
        </li>
      ))}
    </ul>
  );
}
