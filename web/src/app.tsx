// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import { WhatToChange } from "./advice";
import { Causes } from "./causes";
import type { PageReport } from "./data";
import { HowLarge } from "./epc";
import { Evidence } from "./evidence";
import { Operators } from "./operators";
import { Choice, Toolbar } from "./toolbar";
import { Verdict } from "./verdict";

const SECTIONS = [
  ["how-slow", "How slow"],
  ["why", "Why"],
  ["where", "Where"],
  ["how-large", "How large"],
  ["advice", "What to change"],
  ["evidence", "Evidence"],
] as const;
/** Sections that are of a prediction. */
const PREDICTED = new Set<string>(["why", "how-large", "advice"]);

export function App({ report }: { report: PageReport }) {
  const [chosen, choose] = useState(report.first);
  const predictions = report.predict?.predictions ?? [];
  const prediction = predictions[chosen];
  return (
    <>
      <Toolbar sections={SECTIONS.filter(([id]) => prediction !== undefined || !PREDICTED.has(id))}>
        <Choice
          id="platform"
          label="Platform"
          titles={predictions.map((one) => one.deployment.platform)}
          chosen={chosen}
          choose={choose}
        />
      </Toolbar>
      <main>
        <Verdict report={report} chosen={chosen} choose={choose} />
        {prediction !== undefined && <Causes report={report} prediction={prediction} />}
        <Operators report={report} prediction={prediction} />
        {prediction !== undefined && (
          <>
            <HowLarge report={report} prediction={prediction} />
            <WhatToChange report={report} chosen={chosen} choose={choose} />
          </>
        )}
        <Evidence report={report} prediction={prediction} />
      </main>
    </>
  );
}
