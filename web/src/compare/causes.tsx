// SPDX-License-Identifier: Apache-2.0
import type { Change, TimeChanges } from "../data";
import { number, range, ratio, shown, signedRatio, signedSeconds } from "../format";
import { type Cell, DataTable, Section, Swatch } from "../parts";
import { changeCells, changeHeadings, type Chosen, COUNT, differenceCell, Direction } from "./values";

const ITEMS_MAX = 20;

/** What changed, by cause. */
export function Why({ chosen, times }: { chosen: Chosen; times: TimeChanges }) {
  const { page, baseline, side } = chosen;
  const causes = times.causes.filter(({ added_seconds: { before, after } }) => before.high > 0 || after.high > 0);
  const scale = [times.native_seconds, ...causes.map((row) => row.added_seconds), times.sgx_seconds];
  const row = (title: Cell | string, change: Change, of: readonly Change[]) => [title, ...changeCells(page, change, of)];
  return (
    <Section id="why" title="Why">
      <DataTable
        id="causes"
        caption="One inference, by cause"
        headings={["what", ...changeHeadings(chosen)]}
        rows={[
          row({ content: <><Swatch kind="k-native" />natively</> }, times.native_seconds, scale),
          ...causes.map((one) =>
            row(
              { content: <><Swatch kind={`k-${one.cause}`} />{page.titles.causes[one.cause]}</> },
              one.added_seconds,
              scale,
            ),
          ),
        ]}
        footer={row("inside", times.sgx_seconds, scale)}
      />
      <PerSampleTable chosen={chosen} times={times} />
      <div class="columns">
        <DataTable
          id="items"
          caption={
            "What happens, and what it costs" +
            (times.items.length > ITEMS_MAX ? `; ${times.items.length - ITEMS_MAX} kinds that differ less are left out` : "")
          }
          headings={["what", `n:count ${baseline.label}`, `n:count ${side.label}`, "n:difference", "certain"]}
          none="Nothing."
          rows={times.items.slice(0, ITEMS_MAX).map((item) => [
            item.what,
            { content: shown(COUNT.one(item.count.before.likely)), value: item.count.before.likely },
            { content: shown(COUNT.one(item.count.after.likely)), value: item.count.after.likely },
            differenceCell(item.added_seconds),
            { content: <Direction page={page} change={item.added_seconds} /> },
          ])}
        />
        <div>
          <DataTable
            id="counts"
            caption="How often"
            headings={["what", `n:${baseline.label}`, `n:${side.label}`, "n:difference", "certain"]}
            rows={times.counts.map((one) => [
              one.name,
              { content: shown(COUNT.one(one.count.before.likely)), value: one.count.before.likely },
              { content: shown(COUNT.one(one.count.after.likely)), value: one.count.after.likely },
              differenceCell(one.count, COUNT),
              { content: <Direction page={page} change={one.count} /> },
            ])}
          />
          <DataTable
            id="times"
            caption="How much slower, and how long to the first result"
            headings={["what", `n:${baseline.label}`, `n:${side.label}`, "n:difference", "certain"]}
            rows={[
              [
                "slower by",
                { content: `${ratio(times.slowdown.before.likely)}\u00d7`, value: times.slowdown.before.likely },
                { content: `${ratio(times.slowdown.after.likely)}\u00d7`, value: times.slowdown.after.likely },
                differenceCell(times.slowdown, { one: ratio, signed: signedRatio }),
                { content: <Direction page={page} change={times.slowdown} /> },
              ],
              ["start-up", ...withoutBar(changeCells(page, times.startup_seconds, []))],
            ]}
          />
        </div>
      </div>
      {times.sensitivity.length > 0 && (
        <details>
          <summary>What makes the range</summary>
          <DataTable
            id="sensitivity"
            caption="What makes the range of what is added: its difference with one value changed"
            headings={["constant or count", "n:low to high", "n:difference"]}
            rows={times.sensitivity.map((swing) => [
              swing.name.replace(/^platform\./, ""),
              shown(range(swing.value, swing.kind === "constant" ? number : COUNT.signed)),
              shown(
                range(
                  { low: swing.low_seconds, likely: swing.low_seconds, high: swing.high_seconds },
                  signedSeconds,
                ),
              ),
            ])}
          />
        </details>
      )}
    </Section>
  );
}

function withoutBar(cells: readonly Cell[]): Cell[] {
  return cells.filter((_, index) => index !== 3);
}

function PerSampleTable({ chosen, times }: { chosen: Chosen; times: TimeChanges }) {
  const one = times.per_sample;
  if (one === null) return null;
  const scale = [one.native_seconds, one.added_seconds, one.sgx_seconds];
  return (
    <DataTable
      id="per-sample"
      caption={`For each sample: ${one.before_batch_size} and ${one.after_batch_size} in an inference`}
      headings={["what", ...changeHeadings(chosen)]}
      rows={[
        ["natively", ...changeCells(chosen.page, one.native_seconds, scale)],
        ["added by the enclave", ...changeCells(chosen.page, one.added_seconds, scale)],
      ]}
      footer={["inside", ...changeCells(chosen.page, one.sgx_seconds, scale)]}
    />
  );
}
