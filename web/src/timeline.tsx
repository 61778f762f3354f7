// SPDX-License-Identifier: Apache-2.0
// The picture of memory: which pages each operator uses, drawn on a canvas that can be zoomed.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWidth } from "./chart";
import { operatorNames, regionName, type PageReport, type Picture } from "./data";
import { bytes, clip, fixed, shown } from "./format";
import { Legend } from "./parts";

/** The part of the picture that is seen: columns and cells. */
interface View {
  left: number;
  right: number;
  low: number;
  high: number;
}

interface Place {
  column: number;
  cell: number;
}

const HEIGHT = 420;
const STRIP = 12;
const READ = 1;
const WRITTEN = 2;
const EXECUTED = 4;
const PAGE_BYTES = 4096;
const STEP = 1.6;

export function Timeline({ report }: { report: PageReport }) {
  const { picture } = report;
  const names = useMemo(() => operatorNames(report.show), [report]);
  if (picture === null || picture.column_operator_indices.length === 0) return null;
  const thinned = thinning(picture);
  const roles = [...new Set(picture.cell_roles)].map((role) => picture.roles[role] ?? "");
  return (
    <>
      <h3>Which pages are used when</h3>
      <p class="lead">
        Each column is an operator, in the order of their starts, or what is done between two. Pages
        stand without gaps by address, the lowest at the bottom: {shown(bytes(picture.page_count * PAGE_BYTES))}{" "}
        in all. Pale is read, full is written or executed; the strip at the left has the role of each page
        that is used at all.{thinned}
      </p>
      <Legend items={roles.map((role) => [`k-role-${role}`, role] as const)} />
      <Canvas picture={picture} report={report} names={names} />
    </>
  );
}

function thinning(picture: Picture): string {
  const parts = [];
  if (picture.cell_page_count > 1) parts.push(`a dot stands for ${picture.cell_page_count} pages`);
  if (picture.column_step_count > 1) {
    parts.push(`a column for ${picture.column_step_count} of the ${picture.step_count} steps`);
  }
  return parts.length === 0 ? "" : ` Thinned out: ${parts.join(" and ")}, used as any of them is.`;
}

function Canvas(props: { picture: Picture; report: PageReport; names: Map<number, string> }) {
  const { picture, report, names } = props;
  const columns = picture.column_operator_indices.length;
  const cells = picture.cell_addresses.length;
  const whole = { left: 0, right: columns, low: 0, high: cells };
  const [ref, width] = useWidth();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [view, setView] = useState<View>(whole);
  const [place, setPlace] = useState<Place | null>(null);
  const [theme, setTheme] = useState(0);
  const dragged = useRef<{ x: number; y: number; view: View } | null>(null);
  const uses = useMemo(() => usesByColumn(picture, columns), [picture, columns]);

  useEffect(() => {
    const redraw = () => setTheme((count) => count + 1);
    window.addEventListener("themechange", redraw);
    return () => window.removeEventListener("themechange", redraw);
  }, []);
  useLayoutEffect(() => {
    if (canvas.current !== null) draw(canvas.current, picture, view, width);
  }, [picture, view, width, theme]);

  const isWhole = view.right - view.left >= columns && view.high - view.low >= cells;
  const zoom = (factor: number, at?: Place) => {
    const center = at ?? { column: (view.left + view.right) / 2, cell: (view.low + view.high) / 2 };
    setView(zoomed(view, factor, center, columns, cells));
  };
  const placeAt = (event: MouseEvent): Place => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const x = Math.max(event.clientX - box.left - STRIP, 0) / (box.width - STRIP);
    const y = 1 - (event.clientY - box.top) / box.height;
    return {
      column: clamp(Math.floor(view.left + x * (view.right - view.left)), 0, columns - 1),
      cell: clamp(Math.floor(view.low + y * (view.high - view.low)), 0, cells - 1),
    };
  };
  const move = (event: PointerEvent) => {
    const from = dragged.current;
    if (from === null || isWhole) {
      setPlace(placeAt(event));
      return;
    }
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const right = ((from.x - event.clientX) / (box.width - STRIP)) * (view.right - view.left);
    const up = ((event.clientY - from.y) / box.height) * (view.high - view.low);
    setPlace(null);
    setView(shifted(from.view, right, up, columns, cells));
  };
  const press = (event: KeyboardEvent) => {
    const now = place ?? { column: Math.floor(view.left), cell: Math.floor(view.low) };
    const [right, up] = ARROWS[event.key] ?? [0, 0];
    if (right !== 0 || up !== 0) {
      const step = Math.max(1, Math.floor((view.high - view.low) / 64));
      const next = {
        column: clamp(now.column + right, 0, columns - 1),
        cell: clamp(now.cell + up * step, 0, cells - 1),
      };
      setPlace(next);
      setView(containing(view, next, columns, cells));
    } else if (event.key === "+" || event.key === "=") zoom(STEP, place ?? undefined);
    else if (event.key === "-") zoom(1 / STEP, place ?? undefined);
    else if (event.key === "0") setView(whole);
    else if (event.key === "Escape") setPlace(null);
    else return;
    event.preventDefault();
  };
  const said = place === null ? null : describe(place, picture, uses, report, names);
  const x = place === null ? 0 : STRIP + (((place.column + 0.5 - view.left) / (view.right - view.left)) * (width - STRIP));
  const y = place === null ? 0 : (1 - (place.cell + 0.5 - view.low) / (view.high - view.low)) * HEIGHT;
  return (
    <figure class="timeline" id="timeline">
      <div class="tools">
        <button type="button" id="zoom-in" aria-label="Zoom in" onClick={() => zoom(STEP)}>
          +
        </button>
        <button type="button" id="zoom-out" aria-label="Zoom out" disabled={isWhole} onClick={() => zoom(1 / STEP)}>
          &minus;
        </button>
        <button type="button" id="zoom-reset" disabled={isWhole} onClick={() => setView(whole)}>
          Whole
        </button>
        <p>{rangeText(view, columns, cells, picture)}</p>
      </div>
      <div class="canvas" ref={ref}>
        <canvas
          ref={canvas}
          tabIndex={0}
          role="application"
          aria-label="Pages against operators. Arrows move, plus and minus zoom, 0 shows all. A table below has the pages by role."
          style={{ height: `${HEIGHT}px`, touchAction: isWhole ? "pan-y" : "none" }}
          onKeyDown={press}
          onPointerMove={move}
          onPointerDown={(event) => {
            dragged.current = { x: event.clientX, y: event.clientY, view };
            if (!isWhole) event.currentTarget.setPointerCapture(event.pointerId);
          }}
          onPointerUp={() => (dragged.current = null)}
          onPointerLeave={() => setPlace(null)}
          onDblClick={(event) => zoom(STEP * STEP, placeAt(event))}
          onWheel={(event) => {
            // The page keeps scrolling, unless one asks for more.
            if (!event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            zoom(event.deltaY < 0 ? STEP : 1 / STEP, placeAt(event));
          }}
        />
        {said !== null && (
          <div
            class="tooltip"
            style={{
              left: `${Math.min(x + 12, Math.max(width - 300, 0))}px`,
              ...(y > HEIGHT / 2 ? { bottom: `${HEIGHT - y + 12}px` } : { top: `${y + 12}px` }),
            }}
          >
            {said.map((line, index) => (
              <span key={index}>{line}</span>
            ))}
          </div>
        )}
        {place !== null && <div class="crosshair" style={{ left: `${x}px`, top: `${y}px` }} />}
      </div>
      <p class="visually-hidden" role="status">
        {said?.join(", ")}
      </p>
    </figure>
  );
}

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

function zoomed(view: View, factor: number, at: Place, columns: number, cells: number): View {
  const width = clamp((view.right - view.left) / factor, 1, columns);
  const height = clamp((view.high - view.low) / factor, 1, cells);
  const across = (at.column - view.left) / (view.right - view.left);
  const upwards = (at.cell - view.low) / (view.high - view.low);
  const left = clamp(at.column - across * width, 0, columns - width);
  const low = clamp(at.cell - upwards * height, 0, cells - height);
  return { left, right: left + width, low, high: low + height };
}

function shifted(view: View, right: number, up: number, columns: number, cells: number): View {
  const width = view.right - view.left;
  const height = view.high - view.low;
  const left = clamp(view.left + right, 0, columns - width);
  const low = clamp(view.low + up, 0, cells - height);
  return { left, right: left + width, low, high: low + height };
}

function containing(view: View, place: Place, columns: number, cells: number): View {
  const right = Math.max(place.column + 1 - view.right, 0) + Math.min(place.column - view.left, 0);
  const up = Math.max(place.cell + 1 - view.high, 0) + Math.min(place.cell - view.low, 0);
  return shifted(view, right, up, columns, cells);
}

function rangeText(view: View, columns: number, cells: number, picture: Picture): string {
  if (view.right - view.left >= columns && view.high - view.low >= cells) {
    return "Ctrl and wheel, double click, or + and \u2212 zoom; then drag.";
  }
  const pages = Math.round((view.high - view.low) * picture.cell_page_count);
  const shownColumns = fixed(view.right - view.left, 1);
  return `${shownColumns} of ${columns} columns, ${shown(bytes(pages * PAGE_BYTES))} of pages`;
}

/** Rectangles of each column as [first cell, end, use]. */
function usesByColumn(picture: Picture, columns: number): [number, number, number][][] {
  const found: [number, number, number][][] = Array.from({ length: columns }, () => []);
  picture.rectangle_columns.forEach((column, index) => {
    const first = picture.rectangle_cells[index] ?? 0;
    const count = picture.rectangle_cell_counts[index] ?? 0;
    found[column]?.push([first, first + count, picture.rectangle_uses[index] ?? 0]);
  });
  return found;
}

function describe(
  place: Place,
  picture: Picture,
  uses: readonly [number, number, number][][],
  report: PageReport,
  names: Map<number, string>,
): string[] {
  const operators = picture.column_operator_indices[place.column] ?? [];
  const types = new Map(report.show.operators?.rows.map((row) => [row.index, row.type]));
  const said = operators.slice(0, 3).map((index) => `#${index} ${clip(names.get(index) ?? "")} (${clip(types.get(index) ?? "")})`);
  if (operators.length > 3) said.push(`and ${operators.length - 3} more operators`);
  if (operators.length === 0) said.push("between operators");
  const use = uses[place.column]?.find(([first, end]) => first <= place.cell && place.cell < end)?.[2] ?? 0;
  const does = [
    [READ, "read"],
    [WRITTEN, "written"],
    [EXECUTED, "executed"],
  ] as const;
  said.push(does.filter(([flag]) => use & flag).map(([, word]) => word).join(", ") || "not used");
  const role = picture.roles[picture.cell_roles[place.cell] ?? 0] ?? "";
  const number = picture.cell_regions[place.cell] ?? null;
  const region = report.show.regions?.rows.find((row) => row.region === number);
  said.push(region === undefined ? role : `${role}: ${clip(regionName(region, names))}`);
  const address = (picture.cell_addresses[place.cell] ?? 0).toString(16);
  const pages = Math.min(picture.cell_page_count, picture.page_count - place.cell * picture.cell_page_count);
  said.push(`from 0x${address}, ${pages} page${pages === 1 ? "" : "s"}`);
  return said;
}

function draw(canvas: HTMLCanvasElement, picture: Picture, view: View, width: number): void {
  const density = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(HEIGHT * density);
  canvas.style.width = `${width}px`;
  const context = canvas.getContext("2d");
  if (context === null) return;
  const colors = picture.roles.map((role) => {
    canvas.style.color = `var(--role-${role}, currentcolor)`;
    return getComputedStyle(canvas).color;
  });
  const strip = STRIP * density;
  const across = (canvas.width - strip) / (view.right - view.left);
  const upwards = canvas.height / (view.high - view.low);
  const top = (cell: number) => canvas.height - (cell - view.low) * upwards;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const band = (first: number, end: number, left: number, length: number, role: number) => {
    context.fillStyle = colors[role] ?? "gray";
    context.fillRect(left, top(end), length, Math.max(top(first) - top(end), 1));
  };
  // Runs of one role, so that cells of a fraction of a dot do not blur.
  const runs = (first: number, end: number, paint: (from: number, to: number, role: number) => void) => {
    let start = first;
    for (let cell = first + 1; cell <= end; cell += 1) {
      if (cell === end || picture.cell_roles[cell] !== picture.cell_roles[start]) {
        paint(start, cell, picture.cell_roles[start] ?? 0);
        start = cell;
      }
    }
  };
  context.globalAlpha = 1;
  runs(0, picture.cell_addresses.length, (from, to, role) => band(from, to, 0, strip - 3 * density, role));
  context.save();
  context.beginPath();
  context.rect(strip, 0, canvas.width - strip, canvas.height);
  context.clip();
  picture.rectangle_columns.forEach((column, index) => {
    if (column + 1 < view.left || column > view.right) return;
    const first = picture.rectangle_cells[index] ?? 0;
    const end = first + (picture.rectangle_cell_counts[index] ?? 0);
    if (end < view.low || first > view.high) return;
    context.globalAlpha = (picture.rectangle_uses[index] ?? 0) & (WRITTEN | EXECUTED) ? 1 : 0.45;
    const left = strip + (column - view.left) * across;
    runs(first, end, (from, to, role) => band(from, to, left, Math.max(across - density * 0.5, 1), role));
  });
  context.restore();
}
