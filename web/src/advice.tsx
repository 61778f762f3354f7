// SPDX-License-Identifier: Apache-2.0
// What to change: each change with its gain, what it was found from, what it costs and how to do it.
import { useEffect, useState } from "preact/hooks";
import { AdviceItem, amount, capital, TEXT_MAX } from "./advice_item";
import type { AdvicePart, PageReport } from "./data";
import { clip, quoted, sentence, shown } from "./format";
import { DataTable, Section } from "./parts";
import { Snippet } from "./snippet";

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
        <Part key={chosen} report={report} part={part} />
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
          {shown(amount(gain)(gain.after.likely))} instead of {shown(amount(gain)(gain.before.likely))}
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
  const [open, setOpen] = useState(advice.map((_, index) => index === 0));
  const isAllOpen = open.every(Boolean);
  useEffect(() => shownOnPaper(), []);
  return (
    <>
      {advice.length > 0 ? (
        <p class="lead">
          {advice.length > 1 && `${report.titles.advice_order} `}
          Each gain is of one change alone: gains do not add up. Gains are predicted from this recording
          {isVerified && "; where a new recording of the changed program was made, what that says is beside them"}
          . A change is automatic where no person is needed; <code>sgxlens advise --verify</code> makes
          and records those of the program and its model.
        </p>
      ) : (
        <p class="verdict">{report.titles.no_advice}</p>
      )}
      {advice.length > 1 && (
        <p class="tools">
          <button type="button" id="advice-all" onClick={() => setOpen(open.map(() => !isAllOpen))}>
            {isAllOpen ? "Close all" : "Open all"}
          </button>
        </p>
      )}
      {advice.map((row, index) => (
        <AdviceItem
          key={index}
          report={report}
          row={row}
          facts={facts[index] ?? []}
          place={index + 1}
          isOpen={open[index] === true}
          setOpen={(isOpen) => setOpen((all) => all.map((one, at) => (at === index ? isOpen : one)))}
        />
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

/** Paper cannot be opened: it shows every change whole. */
function shownOnPaper() {
  let opened: HTMLDetailsElement[] = [];
  const before = () => {
    opened = [...document.querySelectorAll<HTMLDetailsElement>("details.advice:not([open])")];
    for (const one of opened) one.open = true;
  };
  const after = () => {
    for (const one of opened) one.open = false;
  };
  window.addEventListener("beforeprint", before);
  window.addEventListener("afterprint", after);
  return () => {
    window.removeEventListener("beforeprint", before);
    window.removeEventListener("afterprint", after);
  };
}
