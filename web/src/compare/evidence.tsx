// SPDX-License-Identifier: Apache-2.0
import type { Change } from "../data";
import { count, share, shown } from "../format";
import { DataTable, Section, Sentences } from "../parts";
import type { Chosen } from "./values";

const GRANULARITIES = ["line", "page"] as const;

export function Evidence({ chosen }: { chosen: Chosen }) {
  const { changes, baseline, side } = chosen;
  const prediction = baseline.prediction;
  return (
    <Section id="evidence" title="Evidence">
      {changes.times !== null && (
        <>
          <h3>Leaving the enclave</h3>
          <DataTable
            id="exits"
            caption="By system call and event; what does not change stands once"
            headings={["call or event", `n:count ${baseline.label}`, `n:count ${side.label}`, "n:OCALLs", "n:traps", "n:AEXs"]}
            none="The inference makes no system call and no trap."
            rows={changes.times.exits.map((row) => [
              row.name,
              { content: shown(count(row.before_count)), value: row.before_count },
              { content: shown(count(row.after_count)), value: row.after_count },
              pair(row.ocalls),
              pair(row.exceptions),
              pair(row.aex),
            ])}
          />
        </>
      )}
      <Sources chosen={chosen} />
      {prediction !== null && (
        <>
          <h3>Not modelled</h3>
          <Sentences items={prediction.not_modelled} />
          {prediction.notes.length > 0 && (
            <>
              <h3>Notes</h3>
              <Sentences items={prediction.notes} />
            </>
          )}
        </>
      )}
    </Section>
  );
}

/** `3`, or `3 to 7` with an arrow where it changes. */
function pair(change: Change): string {
  const before = count(change.before.likely);
  const after = count(change.after.likely);
  return shown(before === after ? before : `${before} \u2192 ${after}`);
}

function Sources({ chosen }: { chosen: Chosen }) {
  const { page, changes, baseline, side } = chosen;
  const rows = changes.facts.sources;
  if (rows.length === 0) return null;
  const found = new Map(rows.map((row) => [`${row.source} ${row.granularity}`, row]));
  const ratio = (value: number | null | undefined) => (value === null ? "-" : shown(share(value ?? 0, 1)));
  return (
    <>
      <h3>Reuse</h3>
      <DataTable
        id="sources"
        caption="Where the block was accessed before, in percent of the accesses"
        headings={[
          "accessed before in",
          ...["lines", "pages"].flatMap((what) => [`n:${what} ${baseline.label}`, `n:${what} ${side.label}`]),
        ]}
        rows={[...new Set(rows.map((row) => row.source))].map((source) => [
          page.titles.sources[source] ?? source,
          ...GRANULARITIES.flatMap((granularity) => {
            const row = found.get(`${source} ${granularity}`);
            return [ratio(row === undefined ? 0 : row.before_ratio), ratio(row === undefined ? 0 : row.after_ratio)];
          }),
        ])}
      />
    </>
  );
}
