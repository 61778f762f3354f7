// SPDX-License-Identifier: Apache-2.0
// Reuse distances and miss ratios, lines and pages side by side.
import { useMemo, useState } from "preact/hooks";
import { LineChart } from "./chart";
import { type CurveGroup, type Curves, type Granularity, operatorNames, type PageReport, regionName } from "./data";
import { bytes, clip, count, percent, share, shown } from "./format";
import { DataTable, Legend } from "./parts";
import { regionKey, Regions } from "./regions";

const GRANULARITIES: readonly Granularity[] = ["line", "page"];
const TITLES = { line: "Cache lines (64 B)", page: "Pages (4 KiB)" };
const GROUPS = {
  role: "by role",
  source: "by reuse source",
  region: "one region",
  all: "together",
} as const;
/** A group whose part of all misses is nowhere more than this is not drawn. */
const LEAST_PART = 0.002;
const FLOWS_SHOWN = 20;

type Grouping = keyof typeof GROUPS;

export function Reuse({ report }: { report: PageReport }) {
  const [grouping, group] = useState<Grouping>("role");
  const [region, chooseRegion] = useState(report.curves?.line.by_region[0]?.name ?? "");
  const names = useMemo(() => regionNames(report), [report]);
  const { curves, titles } = report;
  if (curves === null) return <p class="none">No reuse: {report.show.no_attribution}</p>;
  const name = (one: string) =>
    grouping === "source" ? (titles.sources[one] ?? one) : grouping === "region" ? (names.get(one) ?? one) : one;
  const groupings = (Object.keys(GROUPS) as Grouping[]).filter(
    (one) => one !== "region" || curves.line.by_region.length > 0,
  );
  const drawn = [...new Set(GRANULARITIES.flatMap((one) => chosen(curves[one], grouping, region).map((g) => g.name)))];
  return (
    <>
      <h3>Reuse</h3>
      <p class="lead">
        The share of all accesses that miss an LRU memory, by its size. Each line is the part of one
        group, the thick one is all together; what is left at the right is cold, the first access in
        the recording.
      </p>
      <fieldset class="switch">
        <legend class="visually-hidden">Group the curves</legend>
        {groupings.map((one) => (
          <label key={one}>
            <input type="radio" name="grouping" checked={one === grouping} onChange={() => group(one)} />
            {GROUPS[one]}
          </label>
        ))}
      </fieldset>
      {grouping === "region" && (
        <label class="region-choice">
          <span class="label">Region</span>
          <select id="region" value={region} onChange={(event) => chooseRegion(event.currentTarget.value)}>
            {curves.line.by_region.map((one) => (
              <option key={one.name} value={one.name}>
                {clip(name(one.name))}
              </option>
            ))}
          </select>
        </label>
      )}
      {grouping !== "all" && (
        <Legend items={drawn.map((one) => [kind(grouping, one), clip(name(one))] as const)} />
      )}
      <div class="columns even">
        {GRANULARITIES.map((granularity) => (
          <div key={granularity}>
            <h4>{TITLES[granularity]}</h4>
            <Curve
              granularity={granularity}
              curves={curves[granularity]}
              grouping={grouping}
              region={region}
              name={name}
            />
            <Histogram report={report} granularity={granularity} />
          </div>
        ))}
      </div>
      <Regions
        report={report}
        drawn={new Set(curves.line.by_region.map((one) => one.name))}
        chosen={grouping === "region" ? region : null}
        choose={(one) => {
          group("region");
          chooseRegion(one);
        }}
      />
      <Sources report={report} />
    </>
  );
}

function regionNames(report: PageReport): Map<string, string> {
  const operators = operatorNames(report.show);
  return new Map(
    report.show.regions?.rows.map((row) => [regionKey(row), `${row.role}: ${regionName(row, operators)}`]),
  );
}

function kind(grouping: Grouping, name: string): string {
  return grouping === "region" ? "k-region" : `k-${grouping}-${name}`;
}

function chosen(curves: Curves, grouping: Grouping, region: string): CurveGroup[] {
  if (grouping === "region") return curves.by_region.filter((one) => one.name === region);
  const groups = grouping === "role" ? curves.by_role : grouping === "source" ? curves.by_source : [];
  return groups.filter((one) =>
    one.miss_counts.some((misses, i) => misses > LEAST_PART * (curves.all.miss_counts[i] ?? 0)),
  );
}

function Curve(props: {
  granularity: Granularity;
  curves: Curves;
  grouping: Grouping;
  region: string;
  name: (one: string) => string;
}) {
  const { granularity, curves, grouping, region, name } = props;
  const total = curves.all.access_count;
  const groups = chosen(curves, grouping, region);
  // A group is a part of all accesses; a single region stands for itself.
  const isAlone = grouping === "region";
  const ratios = (one: CurveGroup) =>
    one.miss_counts.map((misses) => misses / (isAlone ? one.access_count || 1 : total));
  const describe = (index: number) => {
    const misses = curves.all.miss_counts[index] ?? 0;
    const parts = groups
      .map((one) => [name(one.name), one.miss_counts[index] ?? 0] as const)
      .filter(([, value]) => value > 0)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 3)
      .map(([title, value]) => `${clip(title)} ${share(value, misses)}`);
    const size = bytes(curves.capacity_bytes[index] ?? 0);
    const [alone] = groups;
    if (isAlone && alone !== undefined) {
      const own = alone.miss_counts[index] ?? 0;
      return (
        `${size}: ${count(own)} misses, ${percent(own / (alone.access_count || 1))} of the accesses to the` +
        ` region, ${share(own, misses)} of all misses`
      );
    }
    return `${size}: ${count(misses)} misses, ${percent(misses / total)}${parts.length ? `: ${parts.join(", ")}` : ""}`;
  };
  const last = curves.capacity_bytes.length - 1;
  return (
    <LineChart
      id={`misses-${granularity}`}
      label={`Miss ratio of ${TITLES[granularity]} by size of memory: ${[0, Math.floor(last / 2), last].map(describe).join("; ")}`}
      xLabel="size of the memory"
      yLabel={isAlone ? "Misses per access to the region, and to all." : "Misses per access."}
      xs={curves.capacity_bytes}
      series={[
        ...groups.map((one) => ({ kind: kind(grouping, one.name), title: name(one.name), ys: ratios(one) })),
        { kind: "k-all", title: "all", ys: ratios(curves.all) },
      ]}
      yText={powerOfTen}
      isLogarithmic
      height={250}
      describe={describe}
    />
  );
}

/** A share that is a power of ten, in few letters: `0.01 %`, `10⁻⁵ %`. */
function powerOfTen(ratio: number): string {
  const power = Math.round(Math.log10(100 * ratio));
  if (power >= -3) return `${Number((100 * ratio).toPrecision(3))} %`;
  const digits = [..."\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"];
  return `10\u207b${[...String(-power)].map((digit) => digits[Number(digit)]).join("")} %`;
}

/** Accesses by reuse distance, a bar for each doubling, on a logarithmic scale. */
function Histogram({ report, granularity }: { report: PageReport; granularity: Granularity }) {
  const reuse = report.show.reuse[granularity];
  if (reuse === undefined || reuse.access_count === 0) return null;
  const sums = new Map<number, number>();
  for (const bin of reuse.bins) {
    const power = bin.distance_min_blocks === 0 ? 0 : Math.floor(Math.log2(bin.distance_min_blocks)) + 1;
    sums.set(power, (sums.get(power) ?? 0) + bin.count);
  }
  const rows = [...sums].sort((a, b) => a[0] - b[0]);
  const most = Math.log10(Math.max(...sums.values(), reuse.cold_count, 10));
  const bar = (value: number) => (
    <svg class="bar small" viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true">
      <rect class="k-swing" width={value > 0 ? Math.max((Math.log10(value) / most) * 1000, 4) : 0} y={3} height={14} />
    </svg>
  );
  const size = (power: number) => bytes((power === 0 ? 0 : 2 ** (power - 1)) * reuse.block_bytes);
  return (
    <details>
      <summary>Reuse distances</summary>
      <DataTable
        id={`distances-${granularity}`}
        caption="Accesses by reuse distance, at least; the bars are logarithmic"
        headings={["distance", "n:accesses", "n:share", "on a logarithmic scale"]}
        rows={[
          ...rows.map(([power, value]) => [
            shown(power === 0 ? "0: the same block" : size(power)),
            { content: shown(count(value)), value },
            shown(share(value, reuse.access_count)),
            { content: bar(value) },
          ]),
          [
            "cold",
            { content: shown(count(reuse.cold_count)), value: reuse.cold_count },
            shown(share(reuse.cold_count, reuse.access_count)),
            { content: bar(reuse.cold_count) },
          ],
        ]}
      />
    </details>
  );
}

function Sources({ report }: { report: PageReport }) {
  const rows = report.show.reuse_sources?.rows;
  if (rows === undefined) return null;
  const total = (granularity: Granularity) =>
    rows.reduce((sum, row) => sum + (row.counts[granularity]?.access_count ?? 0), 0);
  const totals = { line: total("line"), page: total("page") };
  const cells = (granularity: Granularity, value: number) => [
    { content: shown(count(value)), value },
    shown(share(value, totals[granularity])),
  ];
  return (
    <>
    <DataTable
      id="sources"
      caption="Where the block was accessed before"
      headings={["accessed before in", "n:line accesses", "n:share", "n:page accesses", "n:share"]}
      rows={rows
        .filter((row) => GRANULARITIES.some((one) => (row.counts[one]?.access_count ?? 0) > 0))
        .map((row) => [
          report.titles.sources[row.source] ?? row.source,
          ...GRANULARITIES.flatMap((one) => cells(one, row.counts[one]?.access_count ?? 0)),
        ])}
    />
    <Flows report={report} total={totals.line} />
    </>
  );
}

/** From which operator to which later one most lines go. */
function Flows({ report, total }: { report: PageReport; total: number }) {
  const names = operatorNames(report.show);
  const name = (index: number) => `#${index} ${clip(names.get(index) ?? "")}`;
  const flows = report.show.reuse_sources?.flows["line"] ?? [];
  if (flows.length === 0) return null;
  return (
    <details>
      <summary>From operator to operator</summary>
      <DataTable
        id="flows"
        caption={`Most line accesses from one operator to a later one: ${Math.min(flows.length, FLOWS_SHOWN)} pairs`}
        headings={["used before in", "used again in", "n:line accesses", "n:share"]}
        rows={flows.slice(0, FLOWS_SHOWN).map((flow) => [
          name(flow.producer_index),
          name(flow.consumer_index),
          { content: shown(count(flow.access_count)), value: flow.access_count },
          shown(share(flow.access_count, total)),
        ])}
      />
    </details>
  );
}
