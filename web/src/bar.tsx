// SPDX-License-Identifier: Apache-2.0
import { CAUSES, type Cause, type PhaseTime } from "./data";
import { seconds, shown } from "./format";

const WIDTH = 1000;

interface Props {
  steady: PhaseTime;
  titles: Record<Cause, string>;
  most_seconds: number;
}

/** The time inside, stacked by what it consists of, with its range as a whisker. */
export function TimeBar({ steady, titles, most_seconds }: Props) {
  const x = (value: number) => (value / most_seconds) * WIDTH;
  const parts = [
    { kind: "native", title: "natively", seconds: steady.native.median_seconds },
    ...CAUSES.map((cause) => ({
      kind: cause,
      title: titles[cause],
      seconds: steady.causes.find((row) => row.cause === cause)?.added_seconds.likely ?? 0,
    })),
  ].filter((part) => part.seconds > 0);
  let start = 0;
  const { low, high } = steady.sgx_seconds;
  const text = parts.map((part) => `${part.title} ${seconds(part.seconds)}`).join(", ");
  return (
    <svg
      class="bar"
      role="img"
      aria-label={shown(text)}
      viewBox={`0 0 ${WIDTH} 20`}
      preserveAspectRatio="none"
    >
      {parts.map((part) => {
        const left = start;
        start += part.seconds;
        return (
          <rect
            key={part.kind}
            class={`fill-${part.kind}`}
            x={x(left)}
            width={x(part.seconds)}
            y={2}
            height={16}
          >
            <title>{shown(`${part.title}: ${seconds(part.seconds)}`)}</title>
          </rect>
        );
      })}
      <path class="whisker" d={`M${x(low)} 10H${x(high)}M${x(low)} 6v8M${x(high)} 6v8`} />
    </svg>
  );
}

export function Legend({ kinds, titles }: { kinds: readonly string[]; titles: Record<string, string> }) {
  return (
    <ul class="legend" aria-hidden="true">
      {kinds.map((kind) => (
        <li key={kind}>
          <svg class="swatch" viewBox="0 0 10 10">
            <rect class={`fill-${kind}`} width={10} height={10} />
          </svg>
          {titles[kind]}
        </li>
      ))}
    </ul>
  );
}
