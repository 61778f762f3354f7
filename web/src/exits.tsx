// SPDX-License-Identifier: Apache-2.0
import type { PageReport, Prediction } from "./data";
import { bytes, count, range, shown } from "./format";
import { DataTable } from "./parts";

const ERRORS_MAX = 3;

/** What system calls and traps of the phase become in the runtime. */
export function Exits({ prediction }: { prediction: Prediction }) {
  const { exits, deployment } = prediction;
  const background = exits.rows.filter((row) => row.is_background);
  return (
    <>
      <Becomes
        id="exits"
        caption={`System calls and traps of the phase, and what becomes of them in ${deployment.runtime_title}`}
        rows={exits.rows.filter((row) => !row.is_background)}
        none={`The phase makes no system call and no trap${background.length > 0 ? " but in the background" : ""}.`}
      />
      {background.length > 0 && (
        <details>
          <summary>In the background: {background.length} kinds</summary>
          <Becomes
            id="background-exits"
            caption="Of threads that work while the phase does, and that it does not wait for: not in its time"
            rows={background}
          />
        </details>
      )}
      <Counted what="Not counted, in the whole recording" counts={exits.left_out} />
      <Counted what="Not known to the runtime's rules, taken for an OCALL each" counts={exits.unknown} />
    </>
  );
}

function Becomes(props: {
  id: string;
  caption: string;
  rows: Prediction["exits"]["rows"];
  none?: string;
}) {
  const { rows, ...others } = props;
  return (
    <DataTable
      {...others}
      headings={["call or event", "n:count", "n:OCALLs", "n:traps", "n:AEXs", "why"]}
      rows={rows.map((row) => [
        row.name,
        { content: shown(count(row.count)), value: row.count },
        { content: shown(range(row.ocalls, count)), value: row.ocalls.likely },
        { content: shown(range(row.exceptions, count)), value: row.exceptions.likely },
        { content: shown(range(row.aex, count)), value: row.aex.likely },
        row.why,
      ])}
    />
  );
}

function Counted({ what, counts }: { what: string; counts: Record<string, number> }) {
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  if (rows.length === 0) return null;
  return (
    <p class="none">
      {what}: {rows.map(([name, value]) => `${shown(count(value))} ${name}`).join(", ")}.
    </p>
  );
}

/** System calls and traps as recorded. */
export function SystemCalls({ report }: { report: PageReport }) {
  const { syscalls, traps } = report.show;
  return (
    <details>
      <summary>System calls and traps as recorded, natively</summary>
      {syscalls === null ? (
        <p>System calls were not recorded.</p>
      ) : (
        <DataTable
          id="syscalls"
          caption="System calls"
          headings={["call", "n:of the phase", "n:of the recording", "n:kernel reads", "n:kernel writes", "errors"]}
          none="No system call."
          rows={syscalls.map((row) => [
            row.name,
            { content: shown(count(row.count)), value: row.count },
            { content: shown(count(row.total_count)), value: row.total_count },
            row.kernel_read_bytes ? shown(bytes(row.kernel_read_bytes)) : "-",
            row.kernel_write_bytes ? shown(bytes(row.kernel_write_bytes)) : "-",
            Object.entries(row.errors)
              .sort((a, b) => b[1] - a[1])
              .slice(0, ERRORS_MAX)
              .map(([name, value]) => `${name} ${shown(count(value))}`)
              .join(", ") || "-",
          ])}
        />
      )}
      {traps !== null && (
        <DataTable
          id="traps"
          caption="Traps: instructions that leave an enclave"
          headings={["instruction", "n:of the phase", "n:of the recording"]}
          none="No trap."
          rows={traps.map((row) => [
            row.kind,
            shown(count(row.count ?? 0)),
            shown(count(row.total_count ?? 0)),
          ])}
        />
      )}
    </details>
  );
}
