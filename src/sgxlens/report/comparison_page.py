# SPDX-License-Identifier: Apache-2.0
"""What the page of a comparison says: the document of `compare`, and words for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from sgxlens.report.comparison import change_verdict, slowest_baseline
from sgxlens.report.comparison_json import CompareReport, json_report
from sgxlens.report.html import Page
from sgxlens.report.titles import COMPARISON_TITLES, ComparisonTitles
from sgxlens.text import one_line

if TYPE_CHECKING:
    from sgxlens.comparison.model import Changes, Comparison, Side
    from sgxlens.report.comparison import ComparisonDocument

SCHEMA_NAME: Final = "sgxlens-comparison"
SCHEMA_VERSION: Final = 1
_OPERATORS_MAX = 2000
_NAME_CELLS_MAX = 60


class ComparisonPage(Page):
    """All that the page of a comparison shows.

    ``compare`` is what `sgxlens compare --json` prints, but for what the page does not show: of the
    prediction of each recording, phases other than the compared one and all by operator and system
    call; and of the operators that differ, all but the first few thousand. ``verdicts`` is of each
    platform and each of the other recordings; ``first`` the index of the platform that is shown
    first.
    """

    schema_name: Literal["sgxlens-comparison"] = Field(default=SCHEMA_NAME, alias="schema")
    schema_version: Literal[1] = SCHEMA_VERSION
    titles: ComparisonTitles
    verdicts: list[list[str]]
    first: int
    compare: CompareReport

    def headline(self) -> str:
        """As of `Page`."""
        return f"{self.title}: sgxlens comparison"

    def sentences(self) -> list[str]:
        """As of `Page`."""
        return [text for of_platform in self.verdicts for text in of_platform]


def comparison_page(document: ComparisonDocument) -> ComparisonPage:
    """The content of the page of a comparison."""
    report = json_report(document)
    return ComparisonPage(
        title=_title(document.comparisons[0].sides),
        titles=COMPARISON_TITLES,
        verdicts=[
            [change_verdict(one, changes) for changes in one.changes]
            for one in document.comparisons
        ],
        first=slowest_baseline(document.comparisons),
        compare=report.model_copy(
            update={"comparisons": [_thinned(c) for c in report.comparisons]}
        ),
    )


def _thinned(comparison: Comparison) -> Comparison:
    return replace(
        comparison,
        sides=tuple(_thinned_side(side) for side in comparison.sides),
        changes=tuple(_thinned_changes(changes) for changes in comparison.changes),
    )


def _thinned_side(side: Side) -> Side:
    found = side.prediction
    if found is None:
        return side
    return replace(
        side,
        prediction=replace(
            found,
            phases=(),
            steady=replace(found.steady, operators=()),
            exits=replace(found.exits, rows=()),
        ),
    )


def _thinned_changes(changes: Changes) -> Changes:
    if changes.times is None:
        return changes
    # The greatest differences come first.
    operators = changes.times.operators[:_OPERATORS_MAX]
    return replace(changes, times=replace(changes.times, operators=operators))


def _title(sides: tuple[Side, ...]) -> str:
    """The names of the recordings."""
    names = [
        one_line(PurePath(side.recording).name or side.recording, _NAME_CELLS_MAX) for side in sides
    ]
    return f"{', '.join(names[:-1])} and {names[-1]}"
