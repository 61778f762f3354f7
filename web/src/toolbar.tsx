// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

/** The sections of the page, what can be chosen on it, and the switch of its colours. */
export function Toolbar(props: {
  sections: readonly (readonly [id: string, title: string])[];
  children?: ComponentChildren;
}) {
  return (
    <header class="toolbar">
      <nav aria-label="Sections">
        {props.sections.map(([id, title]) => (
          <a key={id} href={`#${id}`}>
            {title}
          </a>
        ))}
      </nav>
      <div class="controls">
        {props.children}
        <ThemeSwitch />
      </div>
    </header>
  );
}

/** A choice of several things; of one there is none. */
export function Choice(props: {
  id: string;
  label: string;
  titles: readonly string[];
  chosen: number;
  choose: (index: number) => void;
}) {
  if (props.titles.length < 2) return null;
  return (
    <label>
      <span class="label">{props.label}</span>
      <select
        id={props.id}
        value={props.chosen}
        onChange={(event) => props.choose(Number(event.currentTarget.value))}
      >
        {props.titles.map((title, index) => (
          <option key={index} value={index}>
            {title}
          </option>
        ))}
      </select>
    </label>
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
