# SPDX-License-Identifier: Apache-2.0
"""`make validate`: predictions against published measurements, row by row.

Networks are recorded where they are not yet (see `validation.recordings`). The exit status is 1
when a row misses what it must hold, 2 when something could not be run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

import sgxlens
from validation.recordings import (
    FRAMEWORKS,
    TITLES,
    Framework,
    Program,
    is_installed,
    recording_of,
)
from validation.rows import Published, Row, load_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import JustifyMethod

    from sgxlens.enclave.quantities import Range

_MS = 1e3


@dataclass(frozen=True)
class Result:
    """A published row and what was predicted for it.

    Attributes:
        row: the row.
        framework: what the recorded program ran on.
        sgx_seconds: the predicted time inside.
        slowdown_error_bound: see `Published`.
    """

    row: Row
    framework: Framework
    sgx_seconds: Range
    slowdown_error_bound: float

    @property
    def error(self) -> float:
        """Likely over published slowdown, less 1. Both are of the published native time."""
        return self.sgx_seconds.likely / self.row.sgx_seconds - 1

    @property
    def is_inside(self) -> bool:
        """Whether the published time is inside the predicted range."""
        return self.sgx_seconds.low <= self.row.sgx_seconds <= self.sgx_seconds.high

    @property
    def holds(self) -> bool:
        """Whether the row holds what it must."""
        is_near = abs(self.error) <= self.slowdown_error_bound
        return self.is_inside and (is_near or not self.row.likely_must_hold)


def predict_row(
    published: Published, row: Row, framework: Framework, recording: sgxlens.Recording
) -> Result:
    """Predict a row from the recording of its network.

    Raises:
        SgxlensError: it cannot be predicted.
    """
    prediction = sgxlens.predict(
        recording,
        row.platform,
        published.runtime,
        threads=published.threads,
        native_seconds=row.native_seconds,
    )
    return Result(row, framework, prediction.steady.sgx_seconds, published.slowdown_error_bound)


def _results(
    published: Published, frameworks: Sequence[Framework], *, anew: bool
) -> Iterator[Result]:
    for framework in frameworks:
        rows_of: dict[Program, list[Row]] = {}
        for row in published.rows:
            rows_of.setdefault(Program(row.network, row.batch, framework), []).append(row)
        for program, rows in rows_of.items():
            print(f"validate: {program.name}", file=sys.stderr)
            # What a prediction works out of a recording is kept with it, for all platforms.
            recording = recording_of(program, threads=published.threads, anew=anew)
            for row in rows:
                yield predict_row(published, row, framework, recording)


def _cells(result: Result) -> list[str]:
    row, predicted = result.row, result.sgx_seconds
    times = [predicted.low, predicted.likely, predicted.high]
    return [
        f"{row.network} b{row.batch}",
        row.platform,
        TITLES[result.framework],
        _milliseconds(row.native_seconds),
        _milliseconds(row.sgx_seconds),
        f"{row.slowdown:.3g}x",
        *map(_milliseconds, times),
        f"{predicted.likely / row.native_seconds:.3g}x",
        f"{result.error:+.1%}",
        "yes" if result.is_inside else "NO",
    ]


_HEADINGS = (
    "network",
    "platform",
    "recorded in",
    "native ms",
    "SGX ms",
    "slow-down",
    "low ms",
    "likely ms",
    "high ms",
    "slow-down",
    "error",
    "inside",
)
_TEXT_COLUMN_COUNT = 3


def _milliseconds(seconds: float) -> str:
    return f"{seconds * _MS:.4g}"


def _terminal_table(results: Sequence[Result]) -> Table:
    title = "Published (native, SGX) against predicted (low, likely, high)"
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for number, heading in enumerate(_HEADINGS):
        justify: JustifyMethod = "left" if number < _TEXT_COLUMN_COUNT else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for result in results:
        table.add_row(*_cells(result), style=None if result.holds else "bold red")
    return table


def markdown_table(results: Sequence[Result]) -> str:
    """The results as they stand in docs/validation.md."""
    rule = ["---"] * _TEXT_COLUMN_COUNT + ["--:"] * (len(_HEADINGS) - _TEXT_COLUMN_COUNT)
    rows = [_HEADINGS, rule, *map(_cells, results)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation; return the exit status."""
    parser = argparse.ArgumentParser(prog="make validate", description=__doc__)
    parser.add_argument("--anew", action="store_true", help="record again what is recorded")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args(arguments)
    console = Console(width=max(Console().width, 130))
    published = load_rows()
    frameworks = []
    for framework, packages in FRAMEWORKS.items():
        if is_installed(framework):
            frameworks.append(framework)
        else:
            console.print(f"SKIPPED: all rows of {TITLES[framework]}: no {', '.join(packages)}")
    try:
        results = list(_results(published, frameworks, anew=options.anew))
    except sgxlens.SgxlensError as error:
        print(f"validate: error: {error.message}", file=sys.stderr)
        return 2
    if options.markdown:
        print(markdown_table(results))
    else:
        console.print(_terminal_table(results))
    missed = [result for result in results if not result.holds]
    console.print(
        f"{len(results) - len(missed)} of {len(results)} rows hold: published inside the range and,"
        f" but for the small MLP, the likely slowdown within {published.slowdown_error_bound:.0%}"
    )
    return 1 if missed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
