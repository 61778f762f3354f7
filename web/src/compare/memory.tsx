// SPDX-License-Identifier: Apache-2.0
import { LineChart, nearestIndex } from "../chart";
import type { SizeChange } from "../data";
import { bytes, count, neededBytes, seconds, shown } from "../format";
import { type Cell, DataTable, Legend, Section } from "../parts";
import { type Chosen, timesAsMuch } from "./values";

const COLOURS = 8;

/** What is to be held, in and outside of an enclave. */
export function Memory({ chosen }: { chosen: Chosen }) {
  const { page, changes, baseline, side } = chosen;
  const { facts, times } = changes;
  const headings = ["what", `n:${baseline.label}`, `n:${side.label}`, "n:ratio"];
  const size = (row: SizeChange): (Cell | string)[] => {
    const form = page.titles.needed_sizes.includes(row.name) ? neededBytes : bytes;
    const cell = (value: number | null): Cell | string =>
      value === null ? "-" : { content: shown(form(value)), value };
    const { before_bytes: before, after_bytes: after } = row;
    return [
      page.titles.sizes[row.name] ?? row.name,
      cell(before),
      cell(after),
      before === null || after === null ? "-" : timesAsMuch(before, after),
    ];
  };
  const counts = (what: string, [before, after]: readonly number[]): (Cell | string)[] => [
    what,
    { content: shown(count(before ?? 0)), value: before ?? 0 },
    { content: shown(count(after ?? 0)), value: after ?? 0 },
    timesAsMuch(before ?? 0, after ?? 0),
  ];
  return (
    <Section id="how-large" title="How large">
      <EpcCurves chosen={chosen} />
      <div class="columns">
        {times !== null && (
          <DataTable
            id="sizes"
            caption={`Sizes on ${chosen.comparison.deployment?.platform_title ?? ""}`}
            headings={headings}
            rows={times.sizes.map(size)}
          />
        )}
        <DataTable
          id="facts"
          caption={
            "One inference on any platform" +
            (facts.working_set_line_accesses === null
              ? ""
              : `; working sets are of windows of ${count(facts.working_set_line_accesses)} accesses`)
          }
          headings={headings}
          rows={[
            counts("accesses to lines", facts.line_access_counts as number[]),
            counts("instructions", facts.instruction_counts as number[]),
            ...facts.sizes.map(size),
          ]}
        />
      </div>
    </Section>
  );
}

/** Paging of each recording by size of the EPC. */
function EpcCurves({ chosen }: { chosen: Chosen }) {
  const { comparison } = chosen;
  const known = comparison.sides.flatMap((side, index) =>
    side.prediction === null || side.prediction.epc.curve.length < 2
      ? []
      : [{ label: side.label, kind: `k-side-${index % COLOURS}`, curve: side.prediction.epc.curve }],
  );
  const deployment = comparison.deployment;
  if (known.length === 0 || deployment === null) return null;
  const xs = [...new Set(known.flatMap(({ curve }) => curve.map((one) => one.epc_bytes)))].sort((a, b) => a - b);
  const describe = (index: number) => {
    const at = xs[index] ?? 0;
    const parts = known.map(({ label, curve }) => {
      const one = curve[nearestIndex(curve.map((point) => point.epc_bytes), at)];
      return one === undefined
        ? label
        : `${label}: ${count(one.load_count)} pages loaded, ${seconds(one.added_seconds.likely)} (at ${bytes(one.epc_bytes)})`;
    });
    return `EPC of ${bytes(at)}: ${parts.join("; ")}`;
  };
  return (
    <>
      <h3>Paging by size of the EPC</h3>
      <Legend items={known.map(({ kind, label }) => [kind, label] as const)} />
      <LineChart
        id="epc-curve"
        label={`What paging adds to one inference by size of the EPC: ${[0, Math.floor(xs.length / 2), xs.length - 1].map(describe).join("; ")}`}
        xLabel="size of the EPC"
        yLabel="What paging adds to one inference of each recording."
        xs={xs}
        series={known.map(({ kind, label, curve }) => ({
          kind,
          title: label,
          xs: curve.map((one) => one.epc_bytes),
          ys: curve.map((one) => one.added_seconds.likely),
        }))}
        yText={seconds}
        markers={[
          { at: deployment.epc_bytes.likely, title: `${deployment.platform} ${bytes(deployment.epc_bytes.likely)}`, isStrong: true },
        ]}
        describe={describe}
      />
    </>
  );
}
