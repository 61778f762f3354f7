// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import { WhatToChange } from "./advice";
import { Causes } from "./causes";
import type { PageReport } from "./data";
import { HowLarge } from "./epc";
import { Evidence } from "./evidence";
import { Operators } from "./operators";
import { Toolbar } from "./toolbar";
import { Verdict } from "./verdict";

export function App({ report }: { report: PageReport }) {
  const [chosen, choose] = useState(report.first);
  const prediction = report.predict?.predictions[chosen];
  return (
    <>
      <Toolbar report={report} chosen={chosen} choose={choose} />
      <main>
        <Verdict report={report} chosen={chosen} choose={choose} />
        {prediction !== undefined && <Causes report={report} prediction={prediction} />}
        <Operators report={report} prediction={prediction} />
        {prediction !== undefined && <HowLarge report={report} prediction={prediction} />}
        {prediction !== undefined && (
          <WhatToChange report={report} chosen={chosen} choose={choose} />
        )}
        <Evidence report={report} prediction={prediction} />
      </main>
    </>
  );
}
