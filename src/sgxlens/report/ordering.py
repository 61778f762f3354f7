# SPDX-License-Identifier: Apache-2.0
"""The orders in which operators and regions can be listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sgxlens.attribution.facts import SOURCE_KINDS
from sgxlens.errors import UsageError
from sgxlens.report.attribution_section import OperatorEntry, RegionEntry, RoleEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgxlens.report.document import Document

Entry = TypeVar("Entry", OperatorEntry, RegionEntry, RoleEntry)

_MISSES = {"page-misses": "page", "line-misses": "line"}
_SOURCES = {kind.replace("_", "-"): kind for kind in SOURCE_KINDS}
#: Names of the orders; the last ones are by line accesses with that reuse source.
ORDERS = ("footprint", "accesses", *_MISSES, "time", *_SOURCES)


def choose_order(document: Document, order: str | None) -> str:
    """The order asked for; by default page misses where a size was asked for, else footprint.

    Raises:
        UsageError: there is no such order, or the numbers for it are not in the document.
    """
    has_size = document.reuse.at_bytes is not None
    if order is None:
        return "page-misses" if has_size else "footprint"
    if order not in ORDERS:
        raise UsageError(f"no order {order!r}: there are {', '.join(ORDERS)}")
    if document.attribution is None:
        raise UsageError(
            f"nothing to sort: {document.no_attribution[:1].lower()}{document.no_attribution[1:]}"
        )
    if order in _MISSES and not has_size:
        raise UsageError(f"misses of which size? --sort {order} needs --at, as in --at 92M")
    if order == "time" and not _has_times(document):
        raise UsageError("--sort time: the recording has no native times of these operators")
    return order


def ordered(entries: Iterable[Entry], order: str) -> list[Entry]:
    """The entries, most first; of equals the larger footprint first.

    Regions have no times: in the order ``time`` they come by footprint.
    """

    def key(entry: Entry) -> tuple[float, int, int]:
        return -_amount(entry, order), -_pages(entry), -entry.use["line"].block_count

    return sorted(entries, key=key)


def _amount(entry: OperatorEntry | RegionEntry | RoleEntry, order: str) -> float:
    if order == "accesses":
        return entry.use["line"].access_count
    if order in _SOURCES:
        return entry.use["line"].access_counts_by_source[_SOURCES[order]]
    if order in _MISSES:
        misses = entry.use["line" if order == "line-misses" else "page"].miss_count
        return misses.high if misses is not None else 0
    if order == "time" and isinstance(entry, OperatorEntry):
        return entry.native_time.median_seconds if entry.native_time is not None else 0
    return _pages(entry)


def _pages(entry: OperatorEntry | RegionEntry | RoleEntry) -> int:
    return entry.use["page"].block_count


def _has_times(document: Document) -> bool:
    operators = document.attribution.operators if document.attribution is not None else None
    return operators is not None and any(row.native_time for row in operators.rows)
