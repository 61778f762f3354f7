// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** What may be wider than the page: it scrolls by itself, with keys too, and says so. */
export function Scroll({ label, children }: { label?: string; children: ComponentChildren }) {
  const ref = useRef<HTMLDivElement>(null);
  const [isWide, setWide] = useState(false);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => setWide(element.scrollWidth > element.clientWidth + 1));
    observer.observe(element);
    if (element.firstElementChild !== null) observer.observe(element.firstElementChild);
    return () => observer.disconnect();
  }, []);
  return (
    <div class="scroll-frame">
      {isWide && (
        <p class="scroll-hint" aria-hidden="true">
          scroll sideways &rarr;
        </p>
      )}
      <div
        class="scroll"
        ref={ref}
        {...(isWide ? { tabIndex: 0, role: "group", "aria-label": label ?? "A wide table" } : {})}
      >
        {children}
      </div>
    </div>
  );
}
