# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import predictable
import sgxlens
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.paging import CurvePoint
from sgxlens.prediction.result import Prediction
from sgxlens.report.document import build_document
from sgxlens.report.export.figures import figures

MakeRecording = Callable[..., Path]
MIB = 1 << 20

pytest.importorskip("matplotlib", reason="figures need the extra [figures]")


def paging(prediction: Prediction, factor: float = 1) -> Prediction:
    """`prediction` of a program that takes more than 90 MiB of the EPC."""
    curve = tuple(
        CurvePoint(
            size * MIB, loads, Range(0.8 * loads * factor, loads * factor, 1.5 * loads * factor)
        )
        for size, loads in ((16, 300), (64, 250), (128, 40), (256, 0))
    )
    return replace(prediction, epc=replace(prediction.epc, curve=curve, footprint_bytes=128 * MIB))


def text_of(svg: bytes) -> str:
    return svg.decode("utf-8")


def test_platforms_of_one_curve_share_it(make_recording: MakeRecording) -> None:
    path = make_recording(predictable.tables(), **predictable.metadata())
    found = [
        paging(sgxlens.predict(path, name), factor)
        for name, factor in (("sgx1-client", 1), ("xeon-e-2288g", 1), ("xeon-gold-6326", 2))
    ]
    drawn = text_of(figures(build_document(sgxlens.open(path)), found)["epc-curve.svg"])
    assert "sgx1-client (EPC 93 MiB), xeon-e-2288g (EPC 92 MiB)" in drawn
    assert ">xeon-gold-6326 (EPC 8 GiB)<" in drawn
    assert "footprint 128 MiB" in drawn


def test_miss_ratios_are_drawn_without_predictions(make_recording: MakeRecording) -> None:
    found = figures(build_document(sgxlens.open(make_recording())), [])
    assert set(found) == {"miss-ratio.svg", "reuse-distance.svg"}
    drawn = text_of(found["miss-ratio.svg"])
    assert "64-byte lines" in drawn
    assert "4-KiB pages" in drawn
    assert "capacity of an LRU memory" in drawn
    assert "mathdefault" not in drawn


def test_drawing_leaves_the_settings_of_the_caller_alone(make_recording: MakeRecording) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures(build_document(sgxlens.open(make_recording())), [])
    assert dict(mpl.rcParams) == before
