// SPDX-License-Identifier: Apache-2.0
import { CAUSES, type Cause, type Change, type OperatorTime, type PhaseTime, type Range } from "./data";
import { range, ratio, seconds, sentence, shown } from "./format";

const WIDTH = 1000;

interface Part {
  kind: string;
  title: string;
  seconds: number;
}

function Stack({ parts, most_seconds }: { parts: readonly Part[]; most_seconds: number }) {
  let start = 0;
  return (
    <>
      {parts.map((part) => {
        const left = start;
        start += part.seconds;
        return (
          <rect
            key={part.kind}
            class={`k-${part.kind}`}
            x={(left / most_seconds) * WIDTH}
            width={(part.seconds / most_seconds) * WIDTH}
            y={2}
            height={16}
          >
            <title>{sentence(`${part.title}: ${seconds(part.seconds)}`)}</title>
          </rect>
        );
      })}
    </>
  );
}

interface Props {
  steady: PhaseTime;
  titles: Record<Cause, string>;
  most_seconds: number;
}

/** The time inside, stacked by what it consists of, with its range as a whisker. */
function TimeBar({ steady, titles, most_seconds }: Props) {
  const x = (value: number) => (value / most_seconds) * WIDTH;
  const parts = [
    { kind: "native", title: "natively", seconds: steady.native.median_seconds },
    ...steady.causes.map((row) => ({
      kind: row.cause,
      title: titles[row.cause],
      seconds: row.added_seconds.likely,
    })),
  ].filter((part) => part.seconds > 0);
  const { low, high } = steady.sgx_seconds;
  const text = parts.map((part) => `${part.title} ${seconds(part.seconds)}`).join(", ");
  return (
    <svg
      class="bar"
      role="img"
      aria-label={sentence(text)}
      viewBox={`0 0 ${WIDTH} 20`}
      preserveAspectRatio="none"
    >
      <Stack parts={parts} most_seconds={most_seconds} />
      <path class="whisker" d={`M${x(low)} 10H${x(high)}M${x(low)} 6v8M${x(high)} 6v8`} />
    </svg>
  );
}

/** Cells of a table: the time inside as a bar, in figures, and as a multiple of the native one. */
export function TimeCells({ steady, titles, most_seconds }: Props) {
  return (
    <>
      <td class="wide">
        <TimeBar steady={steady} titles={titles} most_seconds={most_seconds} />
      </td>
      <td class="number" data-value={steady.sgx_seconds.likely}>
        {shown(seconds(steady.sgx_seconds.likely))}
        <small>{shown(range(steady.sgx_seconds, seconds))}</small>
      </td>
      <td class="number" data-value={steady.slowdown.likely}>
        <strong>{ratio(steady.slowdown.likely)}&times;</strong>
        <small>{range(steady.slowdown, ratio)}</small>
      </td>
    </>
  );
}

/** What is added to an operator, by cause. */
export function AddedBar(props: {
  time: OperatorTime;
  titles: Record<Cause, string>;
  most_seconds: number;
}) {
  const parts = CAUSES.map((cause) => ({
    kind: cause,
    title: props.titles[cause],
    seconds: props.time.added_seconds_by_cause[cause] ?? 0,
  })).filter((part) => part.seconds > 0);
  const text = parts.map((part) => `${part.title} ${seconds(part.seconds)}`).join(", ");
  return (
    <svg
      class="bar small"
      role="img"
      aria-label={sentence(text)}
      viewBox={`0 0 ${WIDTH} 20`}
      preserveAspectRatio="none"
    >
      <Stack parts={parts} most_seconds={props.most_seconds} />
    </svg>
  );
}

/** A difference on a scale that has 0, with its range as a whisker. */
export function DifferenceBar(props: { change: Change; from: number; to: number }) {
  const { low, likely, high } = props.change.difference;
  const x = (value: number) => ((value - props.from) / (props.to - props.from || 1)) * WIDTH;
  const left = Math.min(x(0), x(likely));
  const width = Math.abs(x(likely) - x(0));
  return (
    <svg class="bar small" viewBox={`0 0 ${WIDTH} 20`} preserveAspectRatio="none" aria-hidden="true">
      <rect class={`k-${props.change.direction}`} x={left} width={width} y={3} height={14} />
      <path class="zero" d={`M${x(0)} 0v20`} />
      {low !== high && <path class="whisker" d={`M${x(low)} 10H${x(high)}M${x(low)} 6v8M${x(high)} 6v8`} />}
    </svg>
  );
}

/** A value with its range as a whisker. */
export function GainBar(props: { kind: string; value: Range; most: number }) {
  const { low, likely, high } = props.value;
  const x = (value: number) => (Math.max(value, 0) / (props.most || 1)) * WIDTH;
  return (
    <svg class="bar small" viewBox={`0 0 ${WIDTH} 20`} preserveAspectRatio="none" aria-hidden="true">
      <rect class={props.kind} x={0} width={x(likely)} y={2} height={16} />
      {low !== high && <path class="whisker" d={`M${x(low)} 10H${x(high)}M${x(low)} 5v10M${x(high)} 5v10`} />}
    </svg>
  );
}

/** A range on a common scale, with its likely value. */
export function RangeBar(props: { low: number; likely: number; high: number; from: number; to: number }) {
  const x = (value: number) => ((value - props.from) / (props.to - props.from || 1)) * WIDTH;
  const left = x(props.low);
  return (
    <svg class="bar small" viewBox={`0 0 ${WIDTH} 20`} preserveAspectRatio="none" aria-hidden="true">
      <rect class="k-swing" x={left} width={Math.max(x(props.high) - left, 3)} y={4} height={12} />
      <path class="whisker" d={`M${x(props.likely)} 0v20`} />
    </svg>
  );
}
