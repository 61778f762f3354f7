# SPDX-License-Identifier: Apache-2.0
"""A prediction, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from sgxlens.enclave.charges import CAUSE_TITLES
from sgxlens.enclave.quantities import Range
from sgxlens.markup import html_table
from sgxlens.prediction.exits import Exits
from sgxlens.prediction.model import PhaseTime, StartupTime
from sgxlens.prediction.paging import EpcNeeds
from sgxlens.prediction.sizing import Sizing
from sgxlens.units import format_ratio, format_seconds, format_seconds_range


@dataclass(frozen=True)
class Deployment:
    """Where and how the program would run.

    Attributes:
        platform, platform_title: name of the platform, short and for people.
        generation: ``sgx1`` or ``sgx2``.
        runtime, runtime_title: name of the runtime, short and for people.
        epc_bytes: what enclaves can use of the EPC.
        llc_bytes: the last-level cache.
        threads: threads that work at once.
        replicas: enclaves of this program that share the EPC.
        policy: which pages are evicted, where that is not the driver's own; None: it is.
    """

    platform: str
    platform_title: str
    generation: str
    runtime: str
    runtime_title: str
    epc_bytes: Range
    llc_bytes: Range
    threads: int
    replicas: int
    policy: str | None


@dataclass(frozen=True)
class Prediction:
    """What a recorded program would cost inside an enclave on one platform, under one runtime.

    Attributes:
        recording: path of the recording.
        deployment: where and how it would run.
        steady: the steady inference.
        phases: all phases that have a native time, in their order; `steady` is among them.
        startup: the time to the first result.
        exits: what leaves the enclave in the steady inference.
        sizing: how large the enclave must be.
        epc: what the steady inference asks of the EPC.
        not_modelled: what is left out of all that, one sentence each.
        warnings: what one must know before one trusts these numbers, one sentence each.
        notes: what else one must keep in mind, one sentence each.
    """

    recording: str
    deployment: Deployment
    steady: PhaseTime
    phases: tuple[PhaseTime, ...]
    startup: StartupTime
    exits: Exits
    sizing: Sizing
    epc: EpcNeeds
    not_modelled: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """How notebooks show it: the steady inference by cause."""
        steady, place = self.steady, self.deployment
        inside, slowdown = steady.sgx_seconds, steady.slowdown
        rows = [
            ["natively", format_seconds(steady.native.median_seconds), ""],
            *(
                [f"+ {CAUSE_TITLES[row.cause]}", *_time_cells(row.added_seconds)]
                for row in steady.causes
            ),
            ["inside", *_time_cells(inside)],
            [
                "slower by",
                f"{format_ratio(slowdown.likely)} x",
                f"{format_ratio(slowdown.low)} to {format_ratio(slowdown.high)}",
            ],
            ["start-up", *_time_cells(self.startup.total_seconds)],
        ]
        return html_table(
            f"{steady.name} of {self.recording} inside an enclave: {place.platform_title},"
            f" {place.runtime_title}",
            ("", "likely", "range"),
            rows,
            " ".join(self.warnings),
        )


def _time_cells(seconds: Range) -> list[str]:
    return [format_seconds(seconds.likely), format_seconds_range(seconds.low, seconds.high)]
