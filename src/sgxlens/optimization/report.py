# SPDX-License-Identifier: Apache-2.0
"""What came of an optimisation as JSON for programs, and as Markdown for people.

The model is the contract, as in `sgxlens.report.json`: ``schema/optimize.schema.json`` is generated
from it and published with the package.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal, cast

from pydantic import Field

from sgxlens.advice.advice import Gain
from sgxlens.enclave.charges import CAUSE_TITLES
from sgxlens.enclave.quantities import Range
from sgxlens.optimization.deployment import (
    ENVIRONMENT,
    EXAMPLE,
    LOADER,
    REPORT_JSON,
    REPORT_TEXT,
    REQUIREMENTS,
    SESSION,
)
from sgxlens.optimization.result import Optimization
from sgxlens.report.files import write_file
from sgxlens.report.json import Part, published_json, published_schema
from sgxlens.report.titles import GAIN_TITLES
from sgxlens.report.verified import outputs_text
from sgxlens.text import one_line
from sgxlens.units import (
    format_bytes,
    format_ratio,
    format_seconds,
    format_seconds_range,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sgxlens.enclave.charges import Cause
    from sgxlens.optimization.search import Attempt, Untried

SCHEMA_NAME: Final = "sgxlens-optimize"
SCHEMA_VERSION: Final = 1
_SCHEMA_FILE = "schema/optimize.schema.json"


class OptimizeReport(Part):
    """What `sgxlens optimize` did, and what came of it."""

    schema_name: Literal["sgxlens-optimize"] = Field(alias="schema")
    schema_version: Literal[1]
    result: Optimization


def json_text(result: Optimization) -> str:
    """The result as JSON; see `sgxlens.report.json.published_json`."""
    return published_json(
        OptimizeReport(schema=SCHEMA_NAME, schema_version=SCHEMA_VERSION, result=result)
    )


def schema_text() -> str:
    """The schema of `json_text`, as published in the package."""
    return (files("sgxlens.report") / _SCHEMA_FILE).read_text(encoding="utf-8")


def generated_schema_text() -> str:
    """The schema of `json_text`, as it follows from the models."""
    return published_schema(OptimizeReport, SCHEMA_NAME, SCHEMA_VERSION)


def write_report(result: Optimization, folder: Path) -> None:
    """Write both into a folder.

    Raises:
        UsageError: a file cannot be written.
    """
    write_file(folder / REPORT_TEXT, markdown(result).encode())
    write_file(folder / REPORT_JSON, json_text(result).encode())


def summary(result: Optimization) -> Iterator[str]:
    """The result in a few lines."""
    before, after, ratio = result.before.sample.after, result.after.sample.after, result.speedup
    place = result.deployment
    kept = [attempt for attempt in result.attempts if attempt.outcome == "kept"]
    yield (
        f"On {place.platform_title} in {place.runtime_title}, a sample takes {_seconds(after)}"
        f" instead of {_seconds(before)}: {format_ratio(ratio.likely)} times as fast"
        f" ({format_ratio(ratio.low)} to {format_ratio(ratio.high)}), predicted from a recording of"
        " the written folder run by its own loader."
    )
    outputs = result.after.outputs
    yield f"Outputs: {outputs_text(outputs) if outputs else 'not compared'}."
    yield (
        f"Kept: {'; '.join(one_line(attempt.title) for attempt in kept) or 'nothing'}."
        f" Dropped: {len(result.attempts) - len(kept)}. {_sentence(result.ended)}"
        f" Recordings: {result.recording_count}."
    )


def markdown(result: Optimization) -> str:
    """The result as a page."""
    sections = (
        _head(result),
        _comparison(result),
        _tried(result.attempts),
        _left(result.untried),
        _how_to_run(result),
        _notes(result),
    )
    return "\n".join(line for section in sections for line in (*section, "")).rstrip() + "\n"


def _head(result: Optimization) -> Iterator[str]:
    yield f"# {_cell(result.model.rpartition('/')[2])}, optimised by sgxlens"
    yield ""
    yield from summary(result)
    yield ""
    yield f"The model was `{_cell(result.model)}`. All times inside are predictions, and have the"
    yield "range that the platform's constants leave; the ends of a ratio are as if both sides were"
    yield "uncertain independently."


def _comparison(result: Optimization) -> Iterator[str]:
    before, after = result.before, result.after
    yield "## Before and after"
    yield ""
    yield "| | before | after |"
    yield "|---|---|---|"
    batches = (result.batch_before, result.batch_after)
    rows = [
        ("samples of an inference", *(str(size or "not known") for size in batches)),
        ("**a sample inside**", _seconds(before.sample.after), _seconds(after.sample.after)),
        *((_cause(row.cause), _seconds(row.before), _seconds(row.after)) for row in result.causes),
        (
            "an inference inside (the latency of a batch)",
            *(
                _seconds(one.sample.after.scaled(size or 1))
                for one, size in zip((before, after), batches, strict=True)
            ),
        ),
        (
            "start to the first result",
            _seconds(before.startup.after),
            _seconds(after.startup.after),
        ),
        ("memory of the enclave", _bytes(before.memory.after), _bytes(after.memory.after)),
    ]
    for row in rows:
        yield f"| {' | '.join(row)} |"
    ratio = after.native_ratio
    yield ""
    yield (
        f"Natively a sample takes {format_ratio(ratio.likely)} times as long as before"
        f" ({format_ratio(ratio.low)} to {format_ratio(ratio.high)} in turns)."
    )


def _tried(attempts: Sequence[Attempt]) -> Iterator[str]:
    yield "## What was tried"
    yield ""
    if not attempts:
        yield "Nothing: no advice that a machine can follow."
        return
    yield "| change | by | predicted to save | | why | a sample then |"
    yield "|---|---|---|---|---|---|"
    for attempt in attempts:
        then = "-" if attempt.standing is None else _seconds(attempt.standing.sample.after)
        cells = (_cell(attempt.title), f"`{attempt.rule}`", _gain(attempt.predicted),
                 f"**{attempt.outcome}**", _cell(attempt.reason), then)  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _left(untried: Sequence[Untried]) -> Iterator[str]:
    yield "## What is advised still, and was not tried"
    yield ""
    if not untried:
        yield "Nothing."
        return
    yield "| change | by | predicted to save | why not |"
    yield "|---|---|---|---|"
    for one in untried:
        cells = (_cell(one.title), f"`{one.rule}`", _gain(one.predicted), _cell(one.reason))
        yield f"| {' | '.join(cells)} |"


def _how_to_run(result: Optimization) -> Iterator[str]:
    yield "## What is in this folder"
    yield ""
    yield f"- `{LOADER}` loads the model as `{SESSION}` says: `from loader import run`, or"
    yield f"  `python {LOADER}` for a test with `{EXAMPLE}`. It needs numpy and onnxruntime,"
    yield f"  as in `{REQUIREMENTS}`."
    if (result.batch_after or 1) > 1:
        yield f"- Give it {result.batch_after} samples at once, along the first dimension: fewer"
        yield "  are computed as well, but not as fast each."
    yield f"- `{ENVIRONMENT}`: variables of its environment, as `docker run --env-file` takes them;"
    yield "  the configuration below sets them already."
    if result.configuration:
        yield f"- `{result.configuration}`: of the runtime, sized from the recording of this folder"
        yield "  at this place. Read it before you use it."
    yield f"- `{REPORT_JSON}`: this page for programs."


def _notes(result: Optimization) -> Iterator[str]:
    yield "## To know"
    yield ""
    for note in (*result.notes, *result.findings):
        yield f"- {_cell(_sentence(note))}"
    yield f"- The last recording: `{_cell(result.after.recording)}`."


def _gain(gain: Gain) -> str:
    form = format_bytes if gain.unit == "bytes" else format_seconds
    low, likely, high = (
        f"-{form(-value)}" if value < 0 else form(value)
        for value in (gain.saved.low, gain.saved.likely, gain.saved.high)
    )
    return f"{likely} of {form(gain.before.likely)} ({low} to {high}), {GAIN_TITLES[gain.of]}"


def _cause(cause: str) -> str:
    return "natively" if cause == "native" else f"+ {CAUSE_TITLES[cast('Cause', cause)]}"


def _seconds(value: Range) -> str:
    likely = format_seconds(value.likely)
    if value.low == value.high:
        return likely
    return f"{likely} ({format_seconds_range(value.low, value.high)})"


def _bytes(value: Range) -> str:
    low, high = format_bytes(value.low), format_bytes(value.high)
    likely = format_bytes(value.likely)
    return likely if low == high else f"{likely} ({low} to {high})"


def _sentence(text: str) -> str:
    # Names of settings stay as they are.
    first = text[:1].upper() if text.partition(" ")[0].isalpha() else text[:1]
    return f"{first}{text[1:].rstrip('.')}."


def _cell(text: str) -> str:
    return one_line(text, 400).replace("|", "\\|").replace("`", "'")
