# SPDX-License-Identifier: Apache-2.0
"""`make verify-advice`: advice for networks of different kinds, verified by new recordings.

Networks are written and recorded where they are not yet, each piece of advice that a machine can
apply is applied and recorded, and docs/verified-advice.md gets the table of all of them. What is
finished is used again; `--anew` records the networks again, and with them everything, and
`--native-again` only takes the native times again, of what was recorded on a busy machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sgxlens
from sgxlens.advice import Advice, Gain
from sgxlens.advice.advise import asked_all, situation_of
from sgxlens.advice.registry import chosen_rules
from sgxlens.cli.progress import ProgressLine
from sgxlens.recording.api import time_natively
from sgxlens.recording.metadata import RecordingInfo
from sgxlens.recording.native_times.recorded import write_native
from sgxlens.recording.writer import RecordingWriter
from sgxlens.units import format_bytes, format_seconds
from sgxlens.verification import verify
from sgxlens.verification.paired_times import STEADY_SPREAD
from validation import advised_networks
from validation.recordings import ROOT

DOCUMENT = ROOT / "docs" / "verified-advice.md"
FOLDER = ROOT / "build" / "verified-advice"
RUNTIME = "gramine"
#: How each network is run, natively and recorded.
RUN: dict[str, Any] = {"batch": 1, "runs": 1}
_UNSTEADY = " (?)"


@dataclass(frozen=True)
class Program:
    """A network as it is recorded.

    Attributes:
        network: one of `advised_networks.NAMES`.
        title: what it is called in the table.
        platforms: where it is advised.
    """

    network: str
    title: str
    platforms: tuple[str, ...] = ("xeon-e-2288g",)

    @property
    def folder(self) -> Path:
        """Where its recording is."""
        return FOLDER / f"{self.network}.sgxlens"


PROGRAMS = (
    Program("alexnet", "AlexNet", ("xeon-e-2288g", "xeon-gold-6326")),
    Program("resnet50", "ResNet-50"),
    Program("transformer", "transformer"),
)


@dataclass(frozen=True)
class Case:
    """A piece of advice for a program on a platform, after verification."""

    program: Program
    platform: str
    rule: str
    advice: Advice


def recording_of(program: Program, *, anew: bool) -> sgxlens.Recording:
    """The recording of a program; made if there is none, or `anew`.

    Raises:
        SgxlensError: it cannot be recorded.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = FOLDER / f"{program.network}.onnx"
    if not model.exists():
        advised_networks.write(program.network, model)
    if program.folder.exists() and not anew:
        return sgxlens.open(program.folder)
    shutil.rmtree(f"{program.folder}.verify", ignore_errors=True)
    with ProgressLine(quiet=False) as line:
        return sgxlens.record(
            model,
            program.folder,
            **RUN,
            native=True,
            force=True,
            on_progress=line.update,
        )


def timed_again(program: Program, recording: sgxlens.Recording) -> sgxlens.Recording:
    """The recording of a program with its native times taken anew.

    Raises:
        SgxlensError: it cannot be run, or the recording not be written.
    """
    with ProgressLine(quiet=False) as line:
        times = time_natively(FOLDER / f"{program.network}.onnx", **RUN, on_progress=line.update)
    metadata = recording.metadata
    with RecordingWriter(program.folder, force=True) as writer:
        for name in metadata.tables:
            if name != "native_times":
                table = recording.table(name)
                writer.write_table(name, {column: table[column] for column in table.column_names})
        remarks = write_native(writer, times, [process.pid for process in metadata.processes])
        before = set() if metadata.native is None else set(metadata.native.notes)
        notes = [note for note in metadata.notes if note not in before]
        fields = {field: getattr(metadata, field) for field in RecordingInfo.model_fields}
        fields |= {"native": times.info(None), "notes": [*notes, *times.notes, *remarks]}
        writer.finish(RecordingInfo.model_validate(fields))
    return sgxlens.open(program.folder)


def cases(
    programs: Sequence[Program], only: Sequence[str], *, anew: bool, native_again: bool
) -> Iterator[Case]:
    """All advice for the programs, verified where it can be."""
    rules, broken = chosen_rules(only)
    for program in programs:
        recording = recording_of(program, anew=anew)
        if native_again:
            recording = timed_again(program, recording)
        for platform in program.platforms:
            print(f"verify-advice: {program.title} on {platform}", file=sys.stderr)
            situation = situation_of(recording, platform, RUNTIME)
            advisory = asked_all(situation, rules, broken)
            with ProgressLine(quiet=False) as line:
                found = verify(
                    situation,
                    advisory,
                    # What is advised on another platform is mostly the same, and was just timed.
                    native_again=native_again and platform == program.platforms[0],
                    on_progress=line.tell,
                )
            for row in found.broken:
                print(f"verify-advice: {row.name}: {row.problem}", file=sys.stderr)
            for one in found.advice:
                yield Case(program, platform, one.rule, one.advice)


def table(found: Sequence[Case]) -> str:
    """The table of the cases that were verified, and how many there are."""
    head = ("model", "platform", "rule", "of", "now", "predicted to save", "verified", "inside",
            "native time", "outputs off by")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    inside = 0
    verified = [(case, case.advice.verified) for case in found if case.advice.verified is not None]
    for case, told in verified:
        inside += told.inside[0]
        predicted, gain = case.advice.gains[0], told.gains[0]
        cells = (
            case.program.title,
            case.platform,
            f"`{case.rule}`",
            predicted.of,
            _amount(predicted, predicted.before.likely),
            _range(predicted),
            _amount(gain, gain.saved.likely),
            "yes" if told.inside[0] else "**no**",
            f"x {told.native_ratio.likely:.2f}{_UNSTEADY * (told.native_spread > STEADY_SPREAD)}",
            "-" if told.outputs is None else f"{told.outputs.max_relative:.1g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    rules = len({case.rule for case, _ in verified})
    lines.append("")
    lines.append(
        f"Inside the predicted range: {inside} of {len(verified)} cases, of {rules} rules."
    )
    if any(told.native_spread > STEADY_SPREAD for _, told in verified):
        lines += [
            "",
            (
                f"{_UNSTEADY.strip()}: a quarter of the turns of a program natively took more than"
                f" {STEADY_SPREAD:g} times as long as another quarter; the machine was busy."
            ),
        ]
    lines += [
        f"Not verified: `{case.rule}` for {case.program.title} on {case.platform}:"
        f" {case.advice.unverified}."
        for case in found
        if case.advice.verified is None
        and case.advice.modification is not None
        and case.advice.modification.needs_recording
    ]
    return "\n".join(lines)


def _range(gain: Gain) -> str:
    low, likely, high = (
        _amount(gain, value) for value in (gain.saved.low, gain.saved.likely, gain.saved.high)
    )
    return f"{likely} ({low} to {high})"


def _amount(gain: Gain, value: float) -> str:
    text = format_bytes(abs(value)) if gain.unit == "bytes" else format_seconds(abs(value))
    return f"-{text}" if value < 0 else text


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m validation.verify_advice")
    parser.add_argument("--anew", action="store_true", help="record the networks again")
    parser.add_argument(
        "--native-again",
        action="store_true",
        help="take all native times again, and record nothing that is recorded",
    )
    parser.add_argument("--network", action="append", choices=advised_networks.NAMES)
    parser.add_argument("--rule", action="append", default=[], help="ask this rule only")
    arguments = parser.parse_args(argv)
    programs = [p for p in PROGRAMS if p.network in (arguments.network or (p.network,))]
    found = list(
        cases(programs, arguments.rule, anew=arguments.anew, native_again=arguments.native_again)
    )
    text = table(found)
    print(text)
    if not arguments.network and not arguments.rule:
        document = DOCUMENT.read_text(encoding="utf-8")
        between = re.compile(r"(<!-- cases: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
        document = between.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", document)
        DOCUMENT.write_text(document, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
