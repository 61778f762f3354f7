// SPDX-License-Identifier: Apache-2.0
// One change: a line that says what it is and what it saves, which opens to all that is known of it.
import type { ComponentChildren } from "preact";
import { GainBar } from "./bar";
import type { Advice, Evidence, Gain, PageReport, RankedAdvice } from "./data";
import { bytes, clip, count, percent, range, seconds, sentence, shown } from "./format";
import { DataTable, Sentences } from "./parts";
import { Snippet } from "./snippet";

export const TEXT_MAX = 400;
const EVIDENCE_MAX = 140;
/** As `sgxlens.advice.advice.Gain.unit`. */
export const amount = (gain: Gain) => (gain.of === "memory" ? bytes : seconds);
const FORMATS = { count, bytes, seconds, ratio: percent } as const;

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

interface Props {
  report: PageReport;
  row: RankedAdvice;
  facts: readonly (readonly [string, string])[];
  place: number;
  isOpen: boolean;
  setOpen: (isOpen: boolean) => void;
}

export function AdviceItem({ report, row, facts, place, isOpen, setOpen }: Props) {
  const { advice } = row;
  const { assumptions = [], verified, unverified = "" } = advice;
  return (
    <details
      class="advice"
      id={`advice-${place}`}
      open={isOpen}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>
        <Headline report={report} advice={advice} place={place} />
      </summary>
      <div class="columns">
        <div>
          {advice.gains.map((gain, index) => (
            <GainTable
              key={index}
              gain={gain}
              verified={verified?.gains[index]}
              of={report.titles.gains[gain.of] ?? gain.of}
            />
          ))}
          {facts.length > 0 && <Named title="What the new recording says">{facts}</Named>}
          {unverified !== "" && <p class="none">Not verified: {sentence(clip(unverified, TEXT_MAX))}</p>}
          <Named title="What it costs">
            {[["changes", report.titles.changes[advice.changes]] as const, ...advice.costs.map((cost) => [cost.of, cost.text] as const)]}
          </Named>
          {assumptions.length > 0 && (
            <>
              <h4>Taken for granted</h4>
              <Sentences items={assumptions.map((text) => sentence(clip(text, TEXT_MAX)))} />
            </>
          )}
        </div>
        <EvidenceTable rows={advice.evidence} place={place} />
      </div>
      <How advice={advice} />
      <p class="none">
        Found by rule <code>{clip(row.rule)}</code>.
      </p>
    </details>
  );
}

/** What is read of a change before it is opened. */
function Headline({ report, advice, place }: { report: PageReport; advice: Advice; place: number }) {
  const [gain] = advice.gains;
  const verified = advice.verified?.gains[0];
  return (
    <>
      <span class="what">
        <h3>
          {place}. {clip(advice.title, TEXT_MAX)}
        </h3>
        <span class="finding">{sentence(clip(advice.finding, TEXT_MAX))}</span>
      </span>
      {gain !== undefined && (
        <span class="takes">
          <span>
            {capital(report.titles.gains[gain.of] ?? gain.of)} takes{" "}
            <strong>{shown(amount(gain)(gain.after.likely))}</strong> instead of{" "}
            {shown(amount(gain)(gain.before.likely))}
          </span>
          <Saves gain={gain} title="saves" />
          {verified !== undefined && <Saves gain={verified} title="verified: saves" />}
        </span>
      )}
      <span class="state">
        <span>{advice.state}</span>
        <small>{advice.modification == null ? "by hand" : "automatic"}</small>
      </span>
    </>
  );
}

/** A value, and its range where it has one. */
function Within({ value, one }: { value: Gain["saved"]; one: (value: number) => string }) {
  const likely = one(value.likely);
  const bounds = range(value, one);
  return (
    <>
      <span data-value={value.likely}>{shown(likely)}</span>
      {bounds !== likely && ` (${shown(bounds)})`}
    </>
  );
}

function Saves({ gain, title }: { gain: Gain; title: string }) {
  return (
    <small>
      {title} <Within value={gain.saved} one={amount(gain)} />
    </small>
  );
}

/** Before and after on one scale; the thin lines are the ranges. */
function GainTable({ gain, verified, of }: { gain: Gain; verified: Gain | undefined; of: string }) {
  const { before, after } = gain;
  const most = Math.max(before.high, after.high, verified?.after.high ?? 0);
  const row = (title: string, kind: string, value: typeof before) => (
    <tr>
      <th scope="row">{title}</th>
      <td class="wide">
        <GainBar kind={kind} value={value} most={most} />
      </td>
      <td class="number" data-value={value.likely}>
        {shown(amount(gain)(value.likely))}
        <small>{shown(range(value, amount(gain)))}</small>
      </td>
    </tr>
  );
  return (
    <table class="gain">
      <caption>
        {capital(of)}: <Saved gain={gain} state="predicted" />
        {verified !== undefined && (
          <>
            ; <Saved gain={verified} state="verified" />
          </>
        )}
      </caption>
      <tbody>
        {row("now", "k-native", before)}
        {row(verified === undefined ? "then" : "predicted", "k-then", after)}
        {verified !== undefined && row("verified", "k-verified", verified.after)}
      </tbody>
    </table>
  );
}

function Saved({ gain, state }: { gain: Gain; state: string }) {
  const { before, saved } = gain;
  const part = before.likely > 0 ? Math.max(saved.likely / before.likely, 0) : 0;
  return (
    <>
      {state} to save <Within value={saved} one={amount(gain)} />, {shown(percent(part))}
    </>
  );
}

function EvidenceTable({ rows, place }: { rows: readonly Evidence[]; place: number }) {
  return (
    <DataTable
      id={`evidence-${place}`}
      caption="Evidence"
      headings={["what", "n:value"]}
      none="None."
      rows={rows.map((row) => [
        {
          content: <span title={row.origin}>{sentence(clip(row.what, EVIDENCE_MAX))}</span>,
          note: clip(row.origin, EVIDENCE_MAX),
        },
        { content: shown(range(row.value, FORMATS[row.unit])), value: row.value.likely },
      ])}
    />
  );
}

function Named(props: { title: string; children: readonly (readonly [string, string | undefined])[] }) {
  return (
    <>
      <h4>{props.title}</h4>
      <dl class="costs">
        {props.children.map(([name, text], index) => (
          <div key={index}>
            <dt>{name}</dt>
            <dd>{sentence(clip(text ?? "", TEXT_MAX))}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function How({ advice }: { advice: Advice }) {
  const steps: ComponentChildren[] = advice.steps.map((step, index) => (
    <li key={index}>
      {sentence(clip(step.text, TEXT_MAX))}
      {step.snippet && <Snippet language={step.language ?? "text"} text={step.snippet} />}
    </li>
  ));
  return (
    <>
      <h4>How</h4>
      {advice.steps.length === 1 ? <ul class="steps">{steps}</ul> : <ol class="steps">{steps}</ol>}
    </>
  );
}
