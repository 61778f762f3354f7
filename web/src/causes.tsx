// SPDX-License-Identifier: Apache-2.0
import { RangeBar } from "./bar";
import { CAUSES, type PageReport, type Prediction, type Range, type Swing } from "./data";
import { expectedCount, number, ofNative, range, ratio, seconds, share, shown } from "./format";
import { countCell, DataTable, Section, Swatch } from "./parts";

interface Props {
  report: PageReport;
  prediction: Prediction;
}

const SWINGS_MAX = 10;
/** Beside the widest swing, narrower ones than this share of it are not worth a row. */
const SWING_SHARE_MIN = 0.02;

export function Causes({ report, prediction }: Props) {
  const { steady } = prediction;
  const added = steady.added_seconds.likely;
  const native = steady.native.median_seconds;
  const used = CAUSES.filter((cause) =>
    steady.causes.some((row) => row.cause === cause && row.added_seconds.likely > 0),
  );
  const least = SWING_SHARE_MIN * width(steady.sensitivity[0]);
  const swings = steady.sensitivity.filter((swing) => width(swing) >= least).slice(0, SWINGS_MAX);
  const others = steady.sensitivity.length - swings.length;
  const from = Math.min(...swings.map((swing) => swing.low_seconds));
  const to = Math.max(...swings.map((swing) => swing.high_seconds));
  const time = (value: number) => ({ content: shown(seconds(value)), value });
  const ranged = (value: Range) => ({
    ...time(value.likely),
    ...(value.low === value.high ? {} : { note: shown(range(value, seconds)) }),
  });
  const all = [
    ranged(steady.added_seconds),
    shown(share(added, added)),
    shown(ofNative(added, native)),
  ];
  return (
    <Section id="why" title="Why">
      <div class="columns">
        <div>
          <DataTable
            id="causes"
            caption="What the enclave adds, by cause"
            headings={["cause", "n:adds", "n:share", "n:of native time"]}
            rows={steady.causes.map((row) => [
              {
                content: (
                  <>
                    <Swatch kind={`k-${row.cause}`} />
                    {report.titles.causes[row.cause]}
                  </>
                ),
              },
              ranged(row.added_seconds),
              shown(share(row.added_seconds.likely, added)),
              shown(ofNative(row.added_seconds.likely, native)),
            ])}
            footer={["all", ...all]}
          />
          <DataTable
            id="sensitivity"
            caption={
              "What makes the range: the time inside with one value changed" +
              (others > 0 ? `; ${others} more matter less` : "")
            }
            headings={["constant or count", "n:time inside", "from low to high"]}
            none="Nothing: everything is known exactly."
            rows={swings.map((swing) => [
              {
                content: swing.name.replace(/^platform\./, ""),
                note: shown(range(swing.value, swing.kind === "constant" ? number : expectedCount)),
              },
              shown(
                range(
                  { low: swing.low_seconds, likely: swing.low_seconds, high: swing.high_seconds },
                  seconds,
                ),
              ),
              {
                content: (
                  <RangeBar
                    low={swing.low_seconds}
                    likely={steady.sgx_seconds.likely}
                    high={swing.high_seconds}
                    from={from}
                    to={to}
                  />
                ),
              },
            ])}
          />
        </div>
        <div>
          <DataTable
            id="items"
            caption="What happens, and what it costs"
            headings={["what", "n:count", "n:ns each", "n:adds"]}
            none="Nothing."
            rows={steady.items.map((item) => [
              item.what,
              countCell(item.count),
              shown(range(item.constant_ns, number)),
              time(item.added_seconds.likely),
            ])}
          />
          <DataTable
            id="roles"
            caption="By role of the memory"
            headings={["role", "n:adds", ...used.map((cause) => `n:${SHORT[cause]}`)]}
            rows={steady.roles.map((row) => [
              row.role ?? "(of no memory)",
              ranged(row.added_seconds),
              ...used.map((cause) =>
                shown(share(row.added_seconds_by_cause[cause] ?? 0, row.added_seconds.likely)),
              ),
            ])}
          />
        </div>
      </div>
      {prediction.phases.length > 1 && (
        <details>
          <summary>All phases</summary>
          <DataTable
            id="phases"
            caption="By phase"
            headings={["phase", "n:natively", "n:inside", "n:range", "n:slower"]}
            rows={prediction.phases.map((row) => [
              `${row.phase} ${row.name}`,
              time(row.native.median_seconds),
              time(row.sgx_seconds.likely),
              shown(range(row.sgx_seconds, seconds)),
              { content: `${ratio(row.slowdown.likely)}\u00d7`, value: row.slowdown.likely },
            ])}
          />
        </details>
      )}
    </Section>
  );
}

function width(swing: Swing | undefined): number {
  return swing === undefined ? 0 : swing.high_seconds - swing.low_seconds;
}

const SHORT = {
  compute: "instr.",
  transitions: "leaving",
  encryption: "encr.",
  paging: "paging",
  runtime: "runtime",
} as const;
