// SPDX-License-Identifier: Apache-2.0
// Links to what is folded away open it first.

function target(hash: string): HTMLElement | null {
  return hash.length > 1 ? document.getElementById(decodeURIComponent(hash.slice(1))) : null;
}

function unfold(element: HTMLElement) {
  for (let one = element.closest("details"); one !== null; one = one.parentElement?.closest("details") ?? null) {
    one.open = true;
  }
}

/** Go where the address of the page points: when it was loaded, there was nothing yet. */
function follow() {
  const found = target(location.hash);
  if (found === null) return;
  unfold(found);
  found.scrollIntoView();
}

/** Let links of the page, and addresses with a fragment, open what they point to. */
export function openLinked() {
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>('a[href^="#"]') : null;
    const found = link === null ? null : target(link.hash);
    if (found !== null) unfold(found);
  });
  window.addEventListener("hashchange", follow);
  follow();
}
