// SPDX-License-Identifier: Apache-2.0
// A chart of lines over sizes of memory.
import type { ScaleContinuousNumeric } from "d3-scale";
import { scaleLinear, scaleLog } from "d3-scale";
import { area, line } from "d3-shape";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { bytes, sentence, shown } from "./format";

export interface Series {
  kind: string;
  title: string;
  ys: readonly number[];
  /** Where its points are, if not where those of the chart are. */
  xs?: readonly number[];
  lows?: readonly number[];
  highs?: readonly number[];
}

export interface Marker {
  at: number;
  title: string;
  isStrong?: boolean;
}

interface Props {
  id: string;
  /** What the chart shows, in a sentence. */
  label: string;
  xLabel: string;
  yLabel: string;
  xs: readonly number[];
  series: readonly Series[];
  yText: (value: number) => string;
  isLogarithmic?: boolean;
  markers?: readonly Marker[];
  height?: number;
  /** What is said of a point, by its index. */
  describe: (index: number) => string;
}

const LEFT = 70;
const RIGHT = 16;
const BOTTOM = 40;
const LETTER = 6.6;
const MARKER_ROW = 16;
const TICK_WIDTH = 74;
const DECADES_MAX = 6;

export function useWidth(): [preact.RefObject<HTMLDivElement | null>, number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return undefined;
    const measure = () => setWidth(Math.max(element.clientWidth, 200));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** Which of some sizes is nearest to one, by its ratio. */
export function nearestIndex(xs: readonly number[], at: number): number {
  let best = 0;
  xs.forEach((value, i) => {
    if (Math.abs(Math.log(value / at)) < Math.abs(Math.log((xs[best] ?? 1) / at))) best = i;
  });
  return best;
}

/** Powers of two in a range, so few that their labels do not touch. */
function sizeTicks(from: number, to: number, width: number): number[] {
  const first = Math.ceil(Math.log2(from));
  const last = Math.floor(Math.log2(to));
  const most = Math.max(2, Math.floor(width / TICK_WIDTH));
  const step = Math.max(1, Math.ceil((last - first + 1) / most));
  const ticks = [];
  for (let power = first; power <= last; power += step) ticks.push(2 ** power);
  return ticks;
}

/** Rows for labels over their places, so that none touches another. */
function placed(markers: readonly Marker[], x: (value: number) => number, width: number) {
  const ends: number[] = [];
  return [...markers]
    .sort((a, b) => a.at - b.at)
    .map((marker) => {
      const place = x(marker.at);
      const length = marker.title.length * LETTER;
      const isLeft = place + length + 6 > width;
      const start = isLeft ? place - length - 4 : place + 4;
      let row = ends.findIndex((end) => end < start);
      if (row < 0) row = ends.length;
      ends[row] = start + length + 8;
      return { marker, place, row, isLeft };
    });
}

/** Ticks are round: 1.50 s is 1.5 s. */
function tickText(text: string): string {
  return text.replace(/(\.\d*?)0+(?= )/, "$1").replace(/\.(?= )/, "");
}

export function LineChart(props: Props) {
  const { id, xs, series, markers = [], yText, describe, height = 260 } = props;
  const [ref, width] = useWidth();
  const [index, setIndex] = useState<number | null>(null);
  const from = xs[0] ?? 1;
  const to = xs.at(-1) ?? 2;
  const x = scaleLog([from, to], [LEFT, width - RIGHT]).base(2);
  const inside = markers.filter((marker) => marker.at >= from && marker.at <= to);
  const labels = placed(inside, x, width - RIGHT);
  const top = 10 + MARKER_ROW * Math.max(0, ...labels.map((label) => label.row + 1));
  const total = height + top;
  const values = series.flatMap((one) => [...(one.highs ?? one.ys)]);
  const most = Math.max(...values, 0) || 1;
  const positive = values.filter((value) => value > 0);
  const least = Math.max(Math.min(...positive, most), most / 10 ** DECADES_MAX);
  const y: ScaleContinuousNumeric<number, number> = props.isLogarithmic
    ? scaleLog([10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most))], [
        total - BOTTOM,
        top,
      ])
    : scaleLinear([0, most], [total - BOTTOM, top]).nice(4);
  const [floor = 0] = y.domain();
  const isDrawn = (value: number) => !props.isLogarithmic || value >= floor;
  const path = (one: Series) =>
    line<number>()
      .x((_, i) => x((one.xs ?? xs)[i] ?? 1))
      .y((value) => y(value))
      .defined(isDrawn)([...one.ys]) ?? "";
  const ticks = props.isLogarithmic
    ? y.ticks().filter((tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-6)
    : y.ticks(4);
  const nearest = (clientX: number, box: DOMRect) => {
    return nearestIndex(xs, x.invert(((clientX - box.left) / box.width) * width));
  };
  const move = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    setIndex(Math.min(xs.length - 1, Math.max(0, (index ?? (step > 0 ? -1 : xs.length)) + step)));
  };
  const chosen = index === null ? undefined : xs[index];
  return (
    <figure class="chart" id={id}>
      <div ref={ref}>
        <svg
          viewBox={`0 0 ${width} ${total}`}
          width="100%"
          role="img"
          aria-label={sentence(props.label)}
          tabIndex={0}
          onKeyDown={move}
          onPointerMove={(event) =>
            setIndex(nearest(event.clientX, event.currentTarget.getBoundingClientRect()))
          }
          onPointerLeave={() => setIndex(null)}
          onBlur={() => setIndex(null)}
        >
          {ticks.map((tick) => (
            <g key={tick}>
              <line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(tick)} y2={y(tick)} />
              <text class="tick" x={LEFT - 8} y={y(tick) + 4} text-anchor="end">
                {shown(tickText(yText(tick)))}
              </text>
            </g>
          ))}
          {sizeTicks(from, to, width - LEFT - RIGHT).map((tick) => (
            <g key={tick}>
              <line class="grid" x1={x(tick)} x2={x(tick)} y1={total - BOTTOM} y2={total - BOTTOM + 4} />
              <text class="tick" x={x(tick)} y={total - BOTTOM + 17} text-anchor="middle">
                {shown(bytes(tick))}
              </text>
            </g>
          ))}
          <text class="axis" x={width - RIGHT} y={total - 4} text-anchor="end">
            {props.xLabel}
          </text>
          {labels.map(({ marker, place, row, isLeft }) => (
            <g key={marker.title} class={marker.isStrong ? "marker strong" : "marker"}>
              <line x1={place} x2={place} y1={row * MARKER_ROW + 2} y2={total - BOTTOM} />
              <text
                x={isLeft ? place - 4 : place + 4}
                y={row * MARKER_ROW + 12}
                text-anchor={isLeft ? "end" : "start"}
              >
                {marker.title}
              </text>
            </g>
          ))}
          {series.map((one) => (
            <g key={one.kind}>
              {one.lows !== undefined && one.highs !== undefined && (
                <path
                  class={`band ${one.kind}`}
                  d={
                    area<number>()
                      .x((_, i) => x((one.xs ?? xs)[i] ?? 1))
                      .y0((_, i) => y(one.lows?.[i] ?? 0))
                      .y1((_, i) => y(one.highs?.[i] ?? 0))([...one.ys]) ?? ""
                  }
                />
              )}
              <path class={`line ${one.kind}`} d={path(one)} />
            </g>
          ))}
          {chosen !== undefined && (
            <g class="cursor">
              <line x1={x(chosen)} x2={x(chosen)} y1={top} y2={total - BOTTOM} />
              {series.map((one) => {
                const own = one.xs ?? xs;
                const at = one.xs === undefined ? (index ?? 0) : nearestIndex(own, chosen);
                const value = one.ys[at] ?? 0;
                return (
                  isDrawn(value) && (
                    <circle key={one.kind} class={one.kind} cx={x(own[at] ?? chosen)} cy={y(value)} r={3.5} />
                  )
                );
              })}
            </g>
          )}
        </svg>
      </div>
      <p class="readout" role="status">
        {index === null ? props.yLabel : sentence(describe(index))}
      </p>
    </figure>
  );
}
