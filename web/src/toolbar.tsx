// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from "preact/hooks";
import type { PageReport } from "./data";

interface Props {
  report: PageReport;
  chosen: number;
  choose: (index: number) => void;
}

/** Sections that are of a prediction. */
const PREDICTED = new Set<string>(["why", "how-large", "advice"]);
const SECTIONS = [
  ["how-slow", "How slow"],
  ["why", "Why"],
  ["where", "Where"],
  ["how-large", "How large"],
  ["advice", "What to change"],
  ["evidence", "Evidence"],
] as const;

export function Toolbar({ report, chosen, choose }: Props) {
  const predictions = report.predict?.predictions ?? [];
  const sections = SECTIONS.filter(([id]) => predictions.length > 0 || !PREDICTED.has(id));
  return (
    <header class="toolbar">
      <nav aria-label="Sections">
        {sections.map(([id, title]) => (
          <a key={id} href={`#${id}`}>
            {title}
          </a>
        ))}
      </nav>
      <div class="controls">
        {predictions.length > 1 && (
          <label>
            <span class="label">Platform</span>
            <select
              id="platform"
              value={chosen}
              onChange={(event) => choose(Number(event.currentTarget.value))}
            >
              {predictions.map((one, index) => (
                <option key={index} value={index}>
                  {one.deployment.platform}
                </option>
              ))}
            </select>
          </label>
        )}
        <ThemeSwitch />
      </div>
    </header>
  );
}

function ThemeSwitch() {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const [isDark, setDark] = useState(system.matches);
  useEffect(() => {
    document.documentElement.dataset["theme"] = isDark ? "dark" : "light";
    // Charts on a canvas have no style of their own to follow.
    window.dispatchEvent(new Event("themechange"));
  }, [isDark]);
  return (
    <button type="button" id="theme" aria-pressed={isDark} onClick={() => setDark(!isDark)}>
      Dark
    </button>
  );
}
