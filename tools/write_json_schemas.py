# SPDX-License-Identifier: Apache-2.0
"""Writes the published schemas of `--json` of all sub-commands anew."""

from __future__ import annotations

from pathlib import Path

from sgxlens.optimization import report as optimization
from sgxlens.report import advice, comparison_json, json, lint, prediction_json

FOLDER = Path(__file__).parent.parent / "src/sgxlens/report/schema"

if __name__ == "__main__":
    for name, report in (
        ("show", json),
        ("predict", prediction_json),
        ("compare", comparison_json),
        ("advise", advice),
        ("lint", lint),
        ("optimize", optimization),
    ):
        path = FOLDER / f"{name}.schema.json"
        path.write_text(report.generated_schema_text(), encoding="utf-8")
