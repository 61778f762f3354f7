# SPDX-License-Identifier: Apache-2.0
"""How the predictions of two recordings differ, each difference with a range of its own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeVar

from sgxlens.comparison.model import (
    CauseChange,
    Change,
    CountChange,
    ExitChange,
    ItemChange,
    OperatorChange,
    OperatorSide,
    PerSample,
    SizeChange,
    TimeChanges,
    TypeChange,
    median_difference,
)
from sgxlens.comparison.operators import matched
from sgxlens.enclave.charges import CAUSES, Cause
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.ranges import added_seconds, difference_seconds, difference_swings, total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sgxlens.comparison.model import GraphMatch
    from sgxlens.enclave.charges import Charge
    from sgxlens.prediction.evaluation import Evaluation
    from sgxlens.prediction.model import NativeBasis, OperatorTime
    from sgxlens.prediction.result import Prediction

Key = TypeVar("Key", bound=Hashable)

_NONE = Range.exact(0)
#: What is counted of a cause, in words.
_COUNTED: dict[Cause, str] = {"paging": "page loads", "encryption": "line misses"}


def time_changes(
    before: Evaluation,
    after: Evaluation,
    footprints: tuple[Mapping[int, int], Mapping[int, int]],
    batches: tuple[int, int] | None,
) -> TimeChanges:
    """How the times of `after` differ from those of `before`.

    Sizes are ``resident``, ``committed``, ``total`` (all that the enclave must hold), ``enclave``
    (what to set), ``epc_fitting`` and ``epc_cliff``, as in `sgxlens.prediction.sizing.Sizing` and
    `sgxlens.prediction.paging.EpcNeeds`.

    Args:
        before: the prediction of the baseline.
        after: that of the other recording.
        footprints: bytes of the pages that operators touch, by their number; where known.
        batches: batch sizes, if they are known and differ.
    """
    sides = (before.prediction, after.prediction)
    graph, operators, types = _operators(before, after, footprints)
    startup = [one.startup for one in sides]
    natively = Range.exact(startup[1].native_seconds - startup[0].native_seconds)
    return TimeChanges(
        native_seconds=_native(before, after, (1, 1)),
        added_seconds=_added(before.steady, after.steady),
        sgx_seconds=_inside(before, after, (1, 1)),
        slowdown=_slowdown(before, after),
        per_sample=None if batches is None else _per_sample(before, after, batches),
        causes=tuple(_causes(before.steady, after.steady)),
        items=tuple(_items(before.steady, after.steady)),
        counts=tuple(_counts(before, after)),
        graph=graph,
        operators=operators,
        types=types,
        exits=tuple(_exits(*sides)),
        sizes=tuple(_sizes(*sides)),
        startup_seconds=Change.of(
            startup[0].total_seconds,
            startup[1].total_seconds,
            difference_seconds(before.startup, after.startup, measured=natively),
        ),
        sensitivity=difference_swings(before.steady, after.steady),
    )


def _added(before: Sequence[Charge], after: Sequence[Charge]) -> Change:
    difference = difference_seconds(before, after)
    return Change.of(added_seconds(before), added_seconds(after), difference)


def _native(before: Evaluation, after: Evaluation, batches: tuple[int, int]) -> Change:
    natives = [one.prediction.steady.native for one in (before, after)]
    values = [Range.exact(n.median_seconds / b) for n, b in zip(natives, batches, strict=True)]
    return Change.of(values[0], values[1], _measured(natives[0], natives[1], batches))


def _measured(before: NativeBasis, after: NativeBasis, batches: tuple[int, int]) -> Range:
    """The difference of two native medians, for each sample."""
    sides = [
        (n.low_seconds / b, n.high_seconds / b, n.sample_count)
        for n, b in zip((before, after), batches, strict=True)
    ]
    likely = after.median_seconds / batches[1] - before.median_seconds / batches[0]
    half = median_difference(sides[0], sides[1])
    return Range(likely - half, likely, likely + half)


def _inside(before: Evaluation, after: Evaluation, batches: tuple[int, int]) -> Change:
    sides = [
        one.prediction.steady.sgx_seconds.scaled(1 / b)
        for one, b in zip((before, after), batches, strict=True)
    ]
    difference = difference_seconds(
        before.steady,
        after.steady,
        before_weight=1 / batches[0],
        after_weight=1 / batches[1],
        measured=_measured(
            before.prediction.steady.native, after.prediction.steady.native, batches
        ),
    )
    return Change.of(sides[0], sides[1], difference)


def _slowdown(before: Evaluation, after: Evaluation) -> Change:
    steady = [one.prediction.steady for one in (before, after)]
    difference = difference_seconds(
        before.steady,
        after.steady,
        before_weight=1 / steady[0].native.median_seconds,
        after_weight=1 / steady[1].native.median_seconds,
    )
    return Change.of(steady[0].slowdown, steady[1].slowdown, difference)


def _per_sample(before: Evaluation, after: Evaluation, batches: tuple[int, int]) -> PerSample:
    shares = [1 / batch for batch in batches]
    difference = difference_seconds(
        before.steady, after.steady, before_weight=shares[0], after_weight=shares[1]
    )
    added = [one.prediction.steady.added_seconds for one in (before, after)]
    return PerSample(
        before_batch_size=batches[0],
        after_batch_size=batches[1],
        native_seconds=_native(before, after, batches),
        added_seconds=Change.of(added[0].scaled(shares[0]), added[1].scaled(shares[1]), difference),
        sgx_seconds=_inside(before, after, batches),
    )


def _causes(before: Sequence[Charge], after: Sequence[Charge]) -> Iterable[CauseChange]:
    groups = [_groups(side, lambda charge: charge.cause) for side in (before, after)]
    for cause in CAUSES:
        yield CauseChange(cause, _added(*(group.get(cause, []) for group in groups)))


def _items(before: Sequence[Charge], after: Sequence[Charge]) -> list[ItemChange]:
    def key(charge: Charge) -> tuple[Cause, str, str]:
        return charge.cause, charge.what, charge.constant.name

    groups = [_groups(side, key) for side in (before, after)]
    rows = []
    for name in dict.fromkeys((*groups[0], *groups[1])):
        sides = [group.get(name, []) for group in groups]
        counts = [total(charge.count for charge in side) for side in sides]
        rows.append(ItemChange(*name, Change.of_counts(*counts), _added(*sides)))
    rows.sort(key=lambda row: -abs(row.added_seconds.difference.likely))
    return rows


def _counts(before: Evaluation, after: Evaluation) -> Iterable[CountChange]:
    for cause, name in _COUNTED.items():
        sides = [
            total(charge.count for charge in one.steady if charge.cause == cause)
            for one in (before, after)
        ]
        yield CountChange(name, Change.of_counts(*sides))
    rows = [
        [row for row in one.prediction.exits.rows if not row.is_background]
        for one in (before, after)
    ]
    for name, field in (("OCALLs", "ocalls"), ("traps", "exceptions"), ("AEXs of calls", "aex")):
        sides = [total(getattr(row, field) for row in of) for of in rows]
        yield CountChange(name, Change.of_counts(*sides))


def _exits(before: Prediction, after: Prediction) -> list[ExitChange]:
    groups = [
        _groups((row for row in one.exits.rows if not row.is_background), lambda row: row.name)
        for one in (before, after)
    ]
    found = []
    for name in dict.fromkeys((*groups[0], *groups[1])):
        sides = [group.get(name, []) for group in groups]
        changes = [
            Change.of_counts(*(total(getattr(row, field) for row in side) for side in sides))
            for field in ("ocalls", "exceptions", "aex")
        ]
        found.append(
            ExitChange(
                name=name,
                before_count=sum(row.count for row in sides[0]),
                after_count=sum(row.count for row in sides[1]),
                ocalls=changes[0],
                exceptions=changes[1],
                aex=changes[2],
            )
        )
    found.sort(key=lambda row: (-_moved(row), -max(row.before_count, row.after_count), row.name))
    return found


def _moved(row: ExitChange) -> float:
    return sum(abs(one.difference.likely) for one in (row.ocalls, row.exceptions, row.aex))


def _sizes(before: Prediction, after: Prediction) -> Iterable[SizeChange]:
    def sizes(one: Prediction) -> dict[str, int | None]:
        return {
            "resident": one.sizing.resident_bytes,
            "committed": one.sizing.committed_bytes,
            "total": round(one.sizing.total_bytes.likely),
            "enclave": one.sizing.enclave_bytes,
            "epc_fitting": one.epc.fitting_bytes,
            "epc_cliff": one.epc.cliff_bytes,
        }

    left, right = sizes(before), sizes(after)
    return (SizeChange(name, left[name], right[name]) for name in left)


def _operators(
    before: Evaluation,
    after: Evaluation,
    footprints: tuple[Mapping[int, int], Mapping[int, int]],
) -> tuple[GraphMatch | None, tuple[OperatorChange, ...], tuple[TypeChange, ...]]:
    sides = [_Side(one, of) for one, of in zip((before, after), footprints, strict=True)]
    if not all(side.rows for side in sides):
        return None, (), ()
    pairs, graph = matched(sides[0].operators, sides[1].operators)
    rows = []
    if graph.corresponds:
        # What is between operators is the last row.
        last = (len(sides[0].operators), len(sides[1].operators))
        for left, right in (*pairs, last):
            one = sides[0].rows[left] if left is not None else sides[1].rows[right or 0]
            rows.append(
                OperatorChange(
                    name=one.name,
                    type=one.type,
                    before=sides[0].operator(left),
                    after=sides[1].operator(right),
                    added_seconds=_added(sides[0].charges(left), sides[1].charges(right)),
                )
            )
        rows.sort(key=lambda row: -abs(row.likely_seconds))
    return graph, tuple(rows), tuple(_types(*sides))


def _types(before: _Side, after: _Side) -> list[TypeChange]:
    left, right = before.by_type(), after.by_type()
    found = [
        TypeChange(
            type=name,
            before_count=before.operator_count(left.get(name, [])),
            after_count=after.operator_count(right.get(name, [])),
            before_native_seconds=before.native_seconds(left.get(name, [])),
            after_native_seconds=after.native_seconds(right.get(name, [])),
            added_seconds=_added(
                [c for index in left.get(name, []) for c in before.charges(index)],
                [c for index in right.get(name, []) for c in after.charges(index)],
            ),
        )
        for name in dict.fromkeys((*left, *right))
    ]
    found.sort(key=lambda row: -abs(row.likely_seconds))
    return found


class _Side:
    """The operators of one prediction, and what each of them is charged."""

    def __init__(self, evaluation: Evaluation, footprints: Mapping[int, int]) -> None:
        self.rows = evaluation.prediction.steady.operators
        self.operators: Sequence[OperatorTime] = self.rows[:-1]
        self._footprints = footprints
        known = {row.operator for row in self.operators}
        # A charge of an operator of another phase, which lasts into this one, is of no operator.
        self._charges = _groups(
            evaluation.steady, lambda charge: charge.operator if charge.operator in known else None
        )

    def by_type(self) -> dict[str, list[int]]:
        """The rows of each type."""
        return _groups(range(len(self.rows)), lambda index: self.rows[index].type)

    def operator_count(self, indices: Sequence[int]) -> int:
        """How many operators some rows are; what is between operators is none."""
        return sum(self.rows[index].operator is not None for index in indices)

    def native_seconds(self, indices: Sequence[int]) -> float:
        """Native time of some rows, as far as they were timed."""
        return math.fsum(self.rows[index].native_seconds or 0.0 for index in indices)

    def charges(self, index: int | None) -> list[Charge]:
        """What the operator of a row is charged; nothing where there is no row."""
        return [] if index is None else self._charges.get(self.rows[index].operator, [])

    def operator(self, index: int | None) -> OperatorSide | None:
        """The operator of a row."""
        if index is None:
            return None
        row = self.rows[index]
        counts = {
            cause: math.fsum(c.count.likely for c in self.charges(index) if c.cause == cause)
            for cause in _COUNTED
        }
        return OperatorSide(
            index=row.index,
            native_seconds=row.native_seconds,
            added_seconds=row.added_seconds,
            page_load_count=counts["paging"],
            line_miss_count=counts["encryption"],
            footprint_bytes=None if row.operator is None else self._footprints.get(row.operator),
        )


Item = TypeVar("Item")


def _groups(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)
