// SPDX-License-Identifier: Apache-2.0
// The page of a comparison: what changed between recordings.
import { useState } from "preact/hooks";
import type { ComparisonPage } from "../data";
import { Choice, Toolbar } from "../toolbar";
import { Why } from "./causes";
import { Evidence } from "./evidence";
import { Memory } from "./memory";
import { Where } from "./operators";
import type { Chosen } from "./values";
import { WhatChanged } from "./verdict";

const SECTIONS = [
  ["what-changed", "What changed"],
  ["why", "Why"],
  ["where", "Where"],
  ["how-large", "How large"],
  ["evidence", "Evidence"],
] as const;
/** Sections that are of predictions. */
const PREDICTED = new Set<string>(["why", "where"]);

export function ComparisonApp({ page }: { page: ComparisonPage }) {
  const [platform, choosePlatform] = useState(page.first);
  const [other, chooseOther] = useState(0);
  const { comparisons } = page.compare;
  const comparison = comparisons[platform];
  const changes = comparison?.changes[other];
  const baseline = comparison?.sides[0];
  const side = comparison?.sides[other + 1];
  if (comparison === undefined || changes === undefined || baseline === undefined || side === undefined) return null;
  const chosen: Chosen = { page, comparison, changes, baseline, side, platform, other };
  const times = changes.times;
  return (
    <>
      <Toolbar sections={SECTIONS.filter(([id]) => times !== null || !PREDICTED.has(id))}>
        <Choice
          id="platform"
          label="Platform"
          titles={comparisons.map((one) => one.deployment?.platform ?? "")}
          chosen={platform}
          choose={choosePlatform}
        />
        <Choice
          id="other"
          label="Compare"
          titles={comparison.changes.map((one) => `${one.label} against ${baseline.label}`)}
          chosen={other}
          choose={chooseOther}
        />
      </Toolbar>
      <main>
        <WhatChanged chosen={chosen} choosePlatform={choosePlatform} chooseOther={chooseOther} />
        {times !== null && (
          <>
            <Why chosen={chosen} times={times} />
            <Where chosen={chosen} times={times} />
          </>
        )}
        <Memory chosen={chosen} />
        <Evidence chosen={chosen} />
      </main>
    </>
  );
}
