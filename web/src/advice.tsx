// SPDX-License-Identifier: Apache-2.0
// What to change: each change with its gain, what it was found from, what it costs and how to do it.
import type { ComponentChildren } from "preact";
import { GainBar } from "./bar";
import type { Advice, AdvicePart, Evidence, Gain, PageReport, RankedAdvice } from "./data";
import { bytes, clip, count, number, percent, quoted, range, ratio, seconds, sentence, shown } from "./format";
import { DataTable, Section, Sentences } from "./parts";
import { Snippet } from "./snippet";

const TEXT_MAX = 400;
const EVIDENCE_MAX = 140;
/** As `sgxlens.advice.advice.Gain.unit`. */
const text = (gain: Gain) => (gain.of === "memory" ? bytes : seconds);
const FORMATS = { count, bytes, seconds, ratio: number } as const;

interface Props {
  report: PageReport;
  chosen: number;
  choose: (index: number) => void;
}

export function WhatToChange({ report, chosen, choose }: Props) {
  const part = report.advice[chosen];
  return (
    <Section id="advice" title="What to change">
      {part ? (
        <Part report={report} part={part} />
      ) : (
        <Elsewhere report={report} chosen={chosen} choose={choose} />
      )}
    </Section>
  );
}

/** The first change in a line, for those who read no further. */
export function FirstChange({ report, chosen }: { report: PageReport; chosen: number }) {
  const part = report.advice[chosen];
  if (!part) return null;
  const [first] = part.advice;
  const gain = first?.advice.gains[0];
  return (
    <p class="first-change">
      {first === undefined || gain === undefined ? (
        <a href="#advice">{report.titles.no_advice}</a>
      ) : (
        <>
          Change first:{" "}
          <a href="#advice-1">{clip(first.advice.title, TEXT_MAX)}</a>
          {`. ${capital(report.titles.gains[gain.of] ?? gain.of)} takes `}
          {shown(text(gain)(gain.after.likely))} instead of {shown(text(gain)(gain.before.likely))}
          {part.advice.length > 1 && (
            <>
              ; <a href="#advice">{more(part.advice.length - 1)}</a>
            </>
          )}
          .
        </>
      )}
    </p>
  );
}

function more(others: number): string {
  return `${others} more ${others === 1 ? "change" : "changes"}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** For a platform whose advice was not asked for: where there is some, and how to get this. */
function Elsewhere({ report, chosen, choose }: Props) {
  const predictions = report.predict?.predictions ?? [];
  const here = predictions[chosen]?.deployment;
  const others = predictions.flatMap((one, index) =>
    report.advice[index] ? [{ index, platform: one.deployment.platform }] : [],
  );
  if (here === undefined) return null;
  const path = quoted(report.show.recording.path);
  return (
    <>
      <p class="lead">
        Nobody asked for advice for {here.platform}
        {others.length > 0 && (
          <>
            , but for{" "}
            {others.map(({ index, platform }, place) => (
              <span key={index}>
                {place > 0 && ", "}
                <button type="button" class="link" onClick={() => choose(index)}>
                  {platform}
                </button>
              </span>
            ))}
          </>
        )}
        . It is worked out by this command, or for all platforms by{" "}
        <code>sgxlens report --advice all</code>:
      </p>
      <Snippet
        language="shell"
        text={`sgxlens advise ${path} --platform ${quoted(here.platform)} --runtime ${quoted(here.runtime)}`}
      />
    </>
  );
}

function Part({ report, part }: { report: PageReport; part: AdvicePart }) {
  const { advice, silent, broken, facts } = part;
  const isVerified = advice.some((row) => row.advice.verified != null);
  return (
    <>
      {advice.length > 0 ? (
        <p class="lead">
          Each gain is of one change alone: gains do not add up. Gains are predicted from this
          recording
          {isVerified
            ? "; where a new recording of the changed program was made, what that says is beside them."
            : ". sgxlens advise --verify makes what changes a machine can make, and records them."}
        </p>
      ) : (
        <p class="verdict">{report.titles.no_advice}</p>
      )}
      {advice.length > 1 && <Overview report={report} rows={advice} />}
      {advice.map((row, index) => (
        <Item key={index} report={report} row={row} facts={facts[index] ?? []} place={index + 1} />
      ))}
      {broken.length > 0 && (
        <DataTable
          id="broken-rules"
          caption="Rules that failed: what they look for is not known"
          headings={["rule", "what happened"]}
          rows={broken.map((row) => [{ content: <code>{clip(row.name)}</code> }, clip(row.problem, TEXT_MAX)])}
        />
      )}
      {silent.length > 0 && (
        <details open={advice.length === 0}>
          <summary>
            Looked for, and not advised: {silent.length} {silent.length === 1 ? "rule" : "rules"}
          </summary>
          <DataTable
            id="silent-rules"
            caption="What was looked for, and why it is not advised"
            headings={["rule", "why"]}
            rows={silent.map((row) => [
              { content: <code>{clip(row.rule)}</code> },
              sentence(clip(row.reason, TEXT_MAX)),
            ])}
          />
        </details>
      )}
    </>
  );
}

function factor({ before, after }: Gain): string {
  return after.likely > 0 ? `${ratio(before.likely / after.likely)}\u00d7` : "-";
}

function Overview({ report, rows }: { report: PageReport; rows: readonly RankedAdvice[] }) {
  const isVerified = rows.some((row) => row.advice.verified != null);
  return (
    <DataTable
      id="advice-overview"
      caption="In this order"
      headings={["change", "n:now", "n:then", "n:factor", ...(isVerified ? ["n:verified"] : [])]}
      rows={rows.map(({ advice }, index) => {
        const gain = advice.gains[0];
        const title = (
          <>
            {index + 1}. <a href={`#advice-${index + 1}`}>{clip(advice.title, EVIDENCE_MAX)}</a>
          </>
        );
        if (gain === undefined) return [{ content: title }, "", "", ""];
        const verified = advice.verified?.gains[0];
        const { before, after } = gain;
        return [
          { content: title, note: report.titles.gains[gain.of] ?? gain.of },
          { content: shown(text(gain)(before.likely)), value: before.likely },
          { content: shown(text(gain)(after.likely)), value: after.likely },
          factor(gain),
          ...(isVerified ? [verified === undefined ? "-" : factor(verified)] : []),
        ];
      })}
    />
  );
}

function Item(props: {
  report: PageReport;
  row: RankedAdvice;
  facts: readonly (readonly [string, string])[];
  place: number;
}) {
  const { report, row, facts, place } = props;
  const { advice } = row;
  const { assumptions = [], verified, unverified = "" } = advice;
  const id = `advice-${place}`;
  return (
    <article class="advice" id={id} aria-labelledby={`${id}-title`}>
      <h3 id={`${id}-title`}>
        {place}. {clip(advice.title, TEXT_MAX)}
      </h3>
      <p class="finding">{sentence(clip(advice.finding, TEXT_MAX))}</p>
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
    </article>
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
        {shown(text(gain)(value.likely))}
        <small>{shown(range(value, text(gain)))}</small>
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
      {state} to save <strong data-value={saved.likely}>{shown(text(gain)(saved.likely))}</strong> (
      {shown(range(saved, text(gain)))}), {shown(percent(part))}
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
