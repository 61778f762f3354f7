// SPDX-License-Identifier: Apache-2.0
// Something to be copied.
import { useEffect, useRef, useState } from "preact/hooks";

const SAID_MILLISECONDS = 2000;

export function Snippet({ text, language }: { text: string; language: string }) {
  const code = useRef<HTMLElement>(null);
  const [said, say] = useState("");
  useEffect(() => {
    if (said === "") return undefined;
    const end = setTimeout(() => say(""), SAID_MILLISECONDS);
    return () => clearTimeout(end);
  }, [said]);
  const copy = () => {
    // Where a browser has no clipboard for files, it is at least selected.
    if (code.current !== null) getSelection()?.selectAllChildren(code.current);
    const written = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error("no clipboard"));
    written.then(
      () => say("Copied"),
      () => say("Selected: press Ctrl+C"),
    );
  };
  return (
    <div class="snippet">
      <p>
        <span>{language}</span>
        <span role="status">{said}</span>
        <button type="button" onClick={copy}>
          Copy
        </button>
      </p>
      <pre tabIndex={0} aria-label={`Snippet, ${language}`}>
        <code ref={code}>{text}</code>
      </pre>
    </div>
  );
}
