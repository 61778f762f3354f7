# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native PageVisits: it defines what a visit is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

WRITING_CLASSES = (2, 4)  # store and kernel_write, as indices into ACCESS_CLASSES


@dataclass(frozen=True)
class PageAccess:
    """One access to a page: by a context, at a position of the recording."""

    page: int
    access_class: int
    context: int = 0
    position: int = 0


@dataclass
class PageVisit:
    """One visit; `ended` and `idle` are 0 where no visit ends."""

    page: int
    access_class: int
    context: int
    position: int
    written: bool
    ended: int = 0
    idle: int = 0


def page_visits(accesses: Iterable[PageAccess], filter_page_count: int) -> list[PageVisit]:
    """The visits that accesses make, in the order of their starts.

    A filter holds the pages accessed last. A visit starts with an access to a page that is not in
    it, and ends when its page is the least recently used one and another visit starts.
    """
    visits: list[PageVisit] = []
    # From the least recently used page on: the number of its visit, and how many visits had
    # started when it was last accessed.
    held: OrderedDict[int, tuple[int, int]] = OrderedDict()
    for access in accesses:
        writes = access.access_class in WRITING_CLASSES
        if access.page in held:
            number = held[access.page][0]
            visits[number].written |= writes
        else:
            number = len(visits)
            visit = PageVisit(
                access.page, access.access_class, access.context, access.position, writes
            )
            visits.append(visit)
            if len(held) == filter_page_count:
                _, (ended, started) = held.popitem(last=False)
                visit.ended = number - ended
                visit.idle = len(visits) - started
        held[access.page] = number, len(visits)
        held.move_to_end(access.page)
    return visits
