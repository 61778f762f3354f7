# SPDX-License-Identifier: Apache-2.0
"""`make verify-advice`: advice for networks of different kinds, verified by new recordings.

Networks are written and recorded where they are not yet, each piece of advice that a machine can
apply is applied and recorded, and docs/verified-advice.md gets the table of all of them. What is
finished is used again; `--anew` records the networks again, and with them everything.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sgxlens
from sgxlens.advice import Advice, Gain
from sgxlens.advice.advise import asked_all, situation_of
from sgxlens.advice.registry import chosen_rules
from sgxlens.cli.progress import ProgressLine
from sgxlens.units import format_bytes, format_seconds
from sgxlens.verification import verify
from validation import advised_networks
from validation.recordings import ROOT

DOCUMENT = ROOT / "docs" / "verified-advice.md"
FOLDER = ROOT / "build" / "verified-advice"
RUNTIME = "gramine"


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
            batch=1,
            runs=1,
            native=True,
            force=True,
            on_progress=line.update,
        )


def cases(programs: Sequence[Program], only: Sequence[str], *, anew: bool) -> Iterator[Case]:
    """All advice for the programs, verified where it can be."""
    rules, broken = chosen_rules(only)
    for program in programs:
        recording = recording_of(program, anew=anew)
        for platform in program.platforms:
            print(f"verify-advice: {program.title} on {platform}", file=sys.stderr)
            situation = situation_of(recording, platform, RUNTIME)
            advisory = asked_all(situation, rules, broken)
            with ProgressLine(quiet=False) as line:
                found = verify(situation, advisory, on_progress=line.tell)
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
            f"x {told.native_ratio.likely:.2f}",
            "-" if told.outputs is None else f"{told.outputs.max_relative:.1g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    rules = len({case.rule for case, _ in verified})
    lines.append("")
    lines.append(
        f"Inside the predicted range: {inside} of {len(verified)} cases, of {rules} rules."
    )
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
    parser.add_argument("--network", action="append", choices=advised_networks.NAMES)
    parser.add_argument("--rule", action="append", default=[], help="ask this rule only")
    arguments = parser.parse_args(argv)
    programs = [p for p in PROGRAMS if p.network in (arguments.network or (p.network,))]
    found = list(cases(programs, arguments.rule, anew=arguments.anew))
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
