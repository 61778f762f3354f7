# SPDX-License-Identifier: Apache-2.0
"""Which operator of one graph is which of another."""

from __future__ import annotations

from collections import defaultdict
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from sgxlens.comparison.model import GraphMatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.prediction.model import OperatorTime

#: Graphs correspond if more than this share of the operators of both has a counterpart: names that
#: exporters number through (``Conv_12``) meet by chance.
SHARE_MIN: Final = 0.5

Pair = tuple[int | None, int | None]


def matched(
    before: Sequence[OperatorTime], after: Sequence[OperatorTime]
) -> tuple[list[Pair], GraphMatch]:
    """Pairs of indices into the two lists of operators, and how well they correspond.

    Operators are the same if name and type are. Where several are alike (as in a loop, or from a
    framework that names none), they are the same in their order: one by one if there are as many
    on both sides, else as the surroundings align.
    """
    found = _pairs([(o.name, o.type) for o in before], [(o.name, o.type) for o in after])
    match = dict(found)
    taken = set(match.values())
    pairs: list[Pair] = [(i, match.get(i)) for i in range(len(before))]
    pairs += [(None, j) for j in range(len(after)) if j not in taken]
    return pairs, _judged(len(match), len(before), len(after))


def _pairs(
    before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]
) -> list[tuple[int, int]]:
    where: defaultdict[tuple[str, str], tuple[list[int], list[int]]]
    where = defaultdict(lambda: ([], []))
    for side, keys in enumerate((before, after)):
        for index, key in enumerate(keys):
            where[key][side].append(index)
    found: list[tuple[int, int]] = []
    is_ambiguous = set()
    for key, (left, right) in where.items():
        if len(left) == len(right):
            found += zip(left, right, strict=True)
        elif left and right:
            is_ambiguous.add(key)
    if is_ambiguous:
        blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
        found += [
            (block.a + offset, block.b + offset)
            for block in blocks
            for offset in range(block.size)
            if before[block.a + offset] in is_ambiguous
        ]
    return found


def _judged(matched_count: int, before_count: int, after_count: int) -> GraphMatch:
    only = (before_count - matched_count, after_count - matched_count)
    corresponds = 2 * matched_count > SHARE_MIN * (before_count + after_count)
    if not corresponds:
        sentence = (
            f"The graphs do not correspond: only {matched_count} of {before_count} and"
            f" {after_count} operators have the same name and type. They are compared by type."
        )
    elif only == (0, 0):
        sentence = f"The graphs correspond: all {matched_count} operators."
    else:
        sentence = (
            f"The graphs correspond in {matched_count} operators; {only[0]} are only in the first,"
            f" {only[1]} only in the second."
        )
    return GraphMatch(corresponds, matched_count, *only, sentence)
