# SPDX-License-Identifier: Apache-2.0
"""Made-up accesses to pages, and their visits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgxlens.reuse._page_visits_reference import PageAccess, page_visits
from sgxlens.reuse.page_visits import PageVisits


def make_accesses(seed: int, count: int, page_count: int) -> list[PageAccess]:
    """Accesses that stay with few pages for a while, and move on."""
    rng = np.random.default_rng(seed)
    near = (rng.random(count) ** 3 * page_count).astype(int)
    drift = np.cumsum(rng.random(count) < 0.1)
    pages = np.where(rng.random(count) < 0.2, rng.integers(0, page_count, count), near + drift)
    classes = rng.choice(5, count, p=[0.4, 0.35, 0.2, 0.03, 0.02])
    steps = np.cumsum(rng.choice([0, 1, 200, 70_000], count, p=[0.3, 0.4, 0.2, 0.1]))
    return [
        PageAccess(page, access, context, position)
        for page, access, context, position in zip(
            (pages % page_count * 7).tolist(),
            classes.tolist(),
            (steps // 1000 % 131_072).tolist(),
            steps.tolist(),
            strict=True,
        )
    ]


def visits_of(accesses: Sequence[PageAccess], filter_page_count: int) -> PageVisits:
    """The visits that accesses make, as from a recording."""
    visits = page_visits(accesses, filter_page_count)
    return PageVisits(
        np.array([visit.page for visit in visits], np.uint64),
        np.array([visit.written for visit in visits], np.bool_),
        np.array([visit.ended for visit in visits], np.uint32),
        np.array([visit.idle for visit in visits], np.uint32),
        filter_page_count,
    )


def visits_to(pages: Sequence[int], filter_page_count: int) -> PageVisits:
    """The visits that loads from these pages make."""
    return visits_of([PageAccess(page, 1) for page in pages], filter_page_count)
