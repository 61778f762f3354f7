// SPDX-License-Identifier: Apache-2.0
import { LineChart, type Marker } from "./chart";
import type { PageReport, Prediction } from "./data";
import { bytes, clip, count, neededBytes, ofNative, range, seconds, shown } from "./format";
import { type Cell, DataTable, Section } from "./parts";

const PAGE_BYTES = 4096;
const LINE_BYTES = 64;

interface Props {
  report: PageReport;
  prediction: Prediction;
}

export function HowLarge({ report, prediction }: Props) {
  const { epc, steady, deployment } = prediction;
  const native = steady.native.median_seconds;
  const what = phaseName(steady.name);
  const size = (value: number): Cell => ({ content: shown(bytes(value)), value });
  const needed = (value: number): Cell => ({ content: shown(neededBytes(value)), value });
  const sizes: [string, Cell | string][] = [
    [`pages that ${what} accesses`, size(epc.footprint_bytes)],
    ["kept for the runtime and for metadata of pages", size(epc.reserved_bytes)],
    ...epc.for_overhead.map((row): [string, Cell] => [
      `EPC for paging of at most ${row.overhead_percent} % of the native time`,
      { content: shown(range(row.epc_bytes, neededBytes)), value: row.epc_bytes.likely },
    ]),
  ];
  if (epc.cliff_bytes !== null) {
    sizes.push(["the cliff: EPC below which a tenth of its pages is loaded each time", needed(epc.cliff_bytes)]);
  }
  sizes.push(["EPC in which everything fits, so that no page is loaded twice", needed(epc.fitting_bytes)]);
  return (
    <Section id="how-large" title="How large">
      <EpcCurve report={report} prediction={prediction} />
      <div class="columns">
        <div>
          <DataTable
            id="epc-sizes"
            caption="What the phase asks of the EPC"
            headings={["what", "n:size"]}
            rows={sizes}
          />
          {epc.policies.some((row) => row.load_count > 0) && (
            <DataTable
              id="policies"
              caption={`If other pages left the EPC of ${bytes(deployment.epc_bytes.likely)}`}
              headings={["policy", "n:pages loaded", "n:adds", "n:of native time"]}
              rows={epc.policies.map((row) => [
                {
                  content: report.titles.policies[row.policy] ?? row.policy,
                  ...(row.is_used ? { note: "as predicted" } : {}),
                },
                { content: shown(count(row.load_count)), value: row.load_count },
                { content: shown(seconds(row.added_seconds.likely)), value: row.added_seconds.likely },
                shown(ofNative(row.added_seconds.likely, native)),
              ])}
            />
          )}
        </div>
        <div>
          <Enclave prediction={prediction} />
          <WorkingSets report={report} />
        </div>
      </div>
    </Section>
  );
}

function EpcCurve({ report, prediction }: Props) {
  const { epc, steady, deployment } = prediction;
  if (epc.curve.length < 2) return null;
  const sizes = new Map<number, string[]>();
  for (const one of report.predict?.predictions ?? []) {
    const at = one.deployment.epc_bytes.likely;
    sizes.set(at, [...(sizes.get(at) ?? []), one.deployment.platform]);
  }
  const largest = epc.curve.at(-1)?.epc_bytes ?? 0;
  const beyond = [...sizes].filter(([at]) => at > largest);
  const markers: Marker[] = [...sizes].map(([at, names]) => ({
    at,
    title: `${names.join(", ")} ${bytes(at)}`,
    isStrong: at === deployment.epc_bytes.likely,
  }));
  markers.push({ at: epc.footprint_bytes, title: `accessed ${bytes(epc.footprint_bytes)}` });
  if (epc.cliff_bytes !== null) {
    markers.push({ at: epc.cliff_bytes, title: `cliff ${neededBytes(epc.cliff_bytes)}` });
  }
  const point = (index: number) => {
    const one = epc.curve[index];
    if (one === undefined) return "";
    return (
      `EPC of ${bytes(one.epc_bytes)}: ${count(one.load_count)} pages loaded, paging adds ` +
      `${seconds(one.added_seconds.likely)} (${range(one.added_seconds, seconds)})`
    );
  };
  return (
    <>
      <h3>Paging by size of the EPC</h3>
      <LineChart
        id="epc-curve"
        label={
          `What paging adds to ${steady.name} by size of the EPC: ` +
          [0, Math.floor(epc.curve.length / 2), epc.curve.length - 1].map(point).join("; ")
        }
        xLabel="size of the EPC"
        yLabel={`What paging adds to ${phaseName(steady.name)}; the band is the range.`}
        xs={epc.curve.map((one) => one.epc_bytes)}
        series={[
          {
            kind: "k-paging",
            title: "paging",
            ys: epc.curve.map((one) => one.added_seconds.likely),
            lows: epc.curve.map((one) => one.added_seconds.low),
            highs: epc.curve.map((one) => one.added_seconds.high),
          },
        ]}
        yText={seconds}
        markers={markers}
        describe={point}
      />
      {beyond.length > 0 && (
        <p class="none">
          Beyond the chart, where everything fits:{" "}
          {beyond.map(([at, names]) => `${names.join(", ")} (${shown(bytes(at))})`).join(", ")}.
        </p>
      )}
      <details>
        <summary>The curve as a table</summary>
        <DataTable
          id="epc-points"
          caption="Paging by size of the EPC"
          headings={["n:EPC", "n:pages loaded", "n:adds", "n:range"]}
          rows={epc.curve.map((one) => [
            { content: shown(bytes(one.epc_bytes)), value: one.epc_bytes },
            { content: shown(count(one.load_count)), value: one.load_count },
            { content: shown(seconds(one.added_seconds.likely)), value: one.added_seconds.likely },
            shown(range(one.added_seconds, seconds)),
          ])}
        />
      </details>
    </>
  );
}

function Enclave({ prediction }: { prediction: Prediction }) {
  const { sizing } = prediction;
  const size = (value: number): Cell => ({ content: shown(bytes(value)), value });
  const rows: [string, Cell | string][] = [
    [
      "natively resident, at its most",
      sizing.resident_bytes === null ? "not known" : size(sizing.resident_bytes),
    ],
    [`mapped, all of which the enclave holds (most in phase ${sizing.committed_phase})`, size(sizing.committed_bytes)],
  ];
  for (const [what, value] of [
    ["the runtime itself", sizing.own_bytes],
    [`the runtime, for ${sizing.max_threads} threads`, sizing.threads_bytes],
    ["the program, for threads beyond those recorded", sizing.added_threads_bytes],
  ] as const) {
    if (value.high > 0) rows.push([what, shown(range(value, bytes))]);
  }
  rows.push([
    "all together",
    { content: shown(range(sizing.total_bytes, bytes)), value: sizing.total_bytes.likely },
  ]);
  if (sizing.enclave_bytes !== null) {
    const what = sizing.is_given ? "size of the enclave, as given" : "size that is enough";
    rows.push([`${what}, a power of two`, size(sizing.enclave_bytes)]);
  }
  rows.push(["added before the program starts", size(sizing.built_bytes)]);
  return (
    <>
      <DataTable
        id="sizing"
        caption="Size of the enclave"
        headings={["what", "n:size"]}
        rows={rows}
      />
      {sizing.settings.length > 0 && (
        <DataTable
          id="settings"
          caption="Suggested settings"
          headings={["setting", "n:value", "because"]}
          rows={sizing.settings.map((row) => [
            { content: <code>{row.name}</code> },
            { content: row.unit === "bytes" ? manifestSize(row.value) : String(row.value), value: row.value },
            row.reason,
          ])}
        />
      )}
    </>
  );
}

/** Distinct blocks of the phase, and of parts of it. */
function WorkingSets({ report }: { report: PageReport }) {
  const { working_sets: sets, spatial_use: spatial, operators } = report.show;
  if (sets === null || spatial === null) return null;
  const row = (what: string, pages: number, lines: number) => [
    what,
    { content: shown(bytes(pages * PAGE_BYTES)), value: pages },
    { content: shown(bytes(lines * LINE_BYTES)), value: lines },
  ];
  const rows = [row("the phase", spatial.total.page_count, spatial.total.line_count)];
  const uses = operators?.rows.map((one) => one.use) ?? [];
  const largest = uses.reduce<(typeof uses)[number] | null>(
    (most, use) => ((use["page"]?.block_count ?? 0) > (most?.["page"]?.block_count ?? -1) ? use : most),
    null,
  );
  if (largest !== null) {
    rows.push(
      row("its largest operator", largest["page"]?.block_count ?? 0, largest["line"]?.block_count ?? 0),
    );
  }
  const windows = [...sets.windows].sort((a, b) => a.page_count - b.page_count);
  const median = windows[(windows.length - 1) >> 1];
  const widest = windows.at(-1);
  if (windows.length > 1 && median !== undefined && widest !== undefined) {
    rows.push(row("its largest window", widest.page_count, widest.line_count));
    rows.push(row("its median window", median.page_count, median.line_count));
  }
  const size = count(sets.window_line_access_count);
  return (
    <DataTable
      id="working-sets"
      caption={`Working sets: what is accessed at all; a window has at least ${size} line accesses`}
      headings={["of", "n:pages", "n:lines"]}
      rows={rows}
    />
  );
}

function phaseName(name: string): string {
  return name.startsWith("inference") ? "an inference" : `phase ${clip(name)}`;
}

/** A size as manifests have it: `1G`, `512M`. */
function manifestSize(size: number): string {
  for (const [unit, factor] of [["G", 2 ** 30], ["M", 2 ** 20], ["K", 2 ** 10]] as const) {
    if (size > 0 && size % factor === 0) return `${size / factor}${unit}`;
  }
  return String(size);
}
