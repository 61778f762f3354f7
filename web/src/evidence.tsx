// SPDX-License-Identifier: Apache-2.0
import { type PageReport, type Prediction } from "./data";
import { Exits, SystemCalls } from "./exits";
import { bytes, count, number, quoted, range, ratio, seconds, share, shown } from "./format";
import { DataTable, Prose, Section, Sentences } from "./parts";
import { Reuse } from "./reuse";
import { Words } from "./words";

interface Props {
  report: PageReport;
  prediction: Prediction | undefined;
}

export function Evidence({ report, prediction }: Props) {
  return (
    <Section id="evidence" title="Evidence">
      <Reuse report={report} />
      <h3>Leaving the enclave</h3>
      {prediction !== undefined && <Exits prediction={prediction} />}
      <SystemCalls report={report} />
      <h3>The recording</h3>
      <Recorded report={report} />
      {prediction !== undefined && (
        <>
          <h3>What the prediction rests on</h3>
          <Constants prediction={prediction} />
          <h4>Not modelled</h4>
          <Sentences items={prediction.not_modelled} />
          {prediction.notes.length > 0 && (
            <>
              <h4>Notes</h4>
              <Sentences items={prediction.notes} />
            </>
          )}
        </>
      )}
      <Words />
    </Section>
  );
}

/** `recording.json`, as far as the page shows it. */
interface Metadata {
  command: string[];
  created: string;
  elapsed_seconds: number;
  sgxlens_version: string;
  target: { kind: string; model?: string };
  host: { cpu: string; cores: number; kernel: string; memory_bytes: number };
  tracer: { isa: string; valgrind: string };
  settings: { sampling_rate: number; follow_children: boolean };
  outcome: { status: string; exit_code: number | null; message: string };
  native: { host: { cpu: string; cores: number }; threads: number | null; runs: unknown[] } | null;
}

function outcomeText({ status, exit_code }: Metadata["outcome"]): string {
  return exit_code === null ? status : `${status} with status ${exit_code}`;
}

function Recorded({ report }: { report: PageReport }) {
  const { show } = report;
  const metadata = show.recording.metadata as unknown as Metadata;
  const { host, native, settings } = metadata;
  const rate = settings.sampling_rate;
  const rows: [string, string][] = [
    ["recording", show.recording.path],
    ["command", metadata.command.map(quoted).join(" ")],
    ["target", metadata.target.model ? `${metadata.target.kind}: ${metadata.target.model}` : metadata.target.kind],
    ["outcome", metadata.outcome.message || outcomeText(metadata.outcome)],
    ["host", `${host.cpu}, ${host.cores} cores, ${bytes(host.memory_bytes)}, Linux ${host.kernel}`],
    ["tracer", `instruction set shown: ${metadata.tracer.isa}; Valgrind ${metadata.tracer.valgrind}; sgxlens ${metadata.sgxlens_version}`],
    ["recorded", `${metadata.created.replace("T", " ").slice(0, 16)} UTC, ${seconds(metadata.elapsed_seconds)} under the tracer`],
    ["sampling", rate === 1 ? "none: exact" : `one block in ${number(1 / rate)}: estimates`],
  ];
  if (native !== null) {
    const threads = native.threads === null ? "" : `, ${native.threads} thread${native.threads === 1 ? "" : "s"}`;
    rows.push(["natively", `${native.runs.length} runs on ${native.host.cpu}, ${native.host.cores} cores${threads}`]);
  }
  const unclassified = show.regions?.unclassified_ratio;
  if (unclassified !== undefined) {
    rows.push(["unclassified", `${share(unclassified, 1)} of the lines are of no known role`]);
  }
  return (
    <>
      <dl id="recording">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <DataTable
        id="recorded-phases"
        caption="Phases, natively and under the tracer"
        headings={["phase", "n:natively", "n:under the tracer", "n:slower", "n:line accesses", "n:lines", "n:pages"]}
        rows={show.phases.map((phase) => {
          const natively = phase.native_time?.median_seconds;
          return [
            { content: `${phase.phase} ${phase.name}`, ...(phase.is_selected ? { note: "this report" } : {}) },
            natively === undefined ? "-" : { content: shown(seconds(natively)), value: natively },
            { content: shown(seconds(phase.elapsed_seconds)), value: phase.elapsed_seconds },
            natively ? `${ratio(phase.elapsed_seconds / natively)}\u00d7` : "-",
            { content: shown(count(phase.line_access_count)), value: phase.line_access_count },
            shown(bytes(phase.footprints.line?.size_bytes ?? 0)),
            shown(bytes(phase.footprints.page?.size_bytes ?? 0)),
          ];
        })}
      />
    </>
  );
}

function Constants({ prediction }: { prediction: Prediction }) {
  const known = new Map(
    [...prediction.startup.sensitivity, ...prediction.steady.sensitivity]
      .filter((swing) => swing.kind === "constant")
      .map((swing) => [swing.name, swing]),
  );
  return (
    <DataTable
      id="constants"
      caption="Constants that priced something; a number behind a name is that of the threads"
      headings={["constant and its source", "n:likely", "n:low to high"]}
      none="None."
      rows={[...known.values()]
        .sort((a, b) => a.name.localeCompare(b.name, "en"))
        .map((swing) => [
          { content: <code>{swing.name}</code>, note: <Prose text={swing.source} /> },
          { content: number(swing.value.likely), value: swing.value.likely },
          shown(range(swing.value, number)),
        ])}
    />
  );
}
