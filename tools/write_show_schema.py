# SPDX-License-Identifier: Apache-2.0
"""Writes the published schema of `sgxlens show --json` anew from src/sgxlens/report/json.py."""

from __future__ import annotations

from pathlib import Path

from sgxlens.report.json import generated_schema_text

SCHEMA = Path(__file__).parent.parent / "src/sgxlens/report/schema/show.schema.json"

if __name__ == "__main__":
    SCHEMA.write_text(generated_schema_text(), encoding="utf-8")
