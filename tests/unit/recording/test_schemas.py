# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sgxlens.recording.metadata import RecordingMetadata
from sgxlens.recording.schemas import REQUIRED_TABLES, TABLES, markdown_tables

DOCUMENT = Path(__file__).parents[3] / "docs" / "recording-format.md"


def test_the_documentation_has_the_tables_as_they_are() -> None:
    assert markdown_tables() in DOCUMENT.read_text(encoding="utf-8"), (
        "run python tools/write_format_docs.py"
    )


def test_the_documentation_names_every_field_of_the_metadata() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").split("## `recording.json`")[1].split("## ")[0]
    schema = RecordingMetadata.model_json_schema()
    fields = set(schema["properties"])
    for model in schema["$defs"].values():
        fields |= set(model["properties"])
    missing = [name for name in sorted(fields) if name not in text]
    assert not missing


def test_required_tables_exist() -> None:
    assert set(REQUIRED_TABLES) <= set(TABLES)


def test_schemas_say_what_may_be_null() -> None:
    schema = TABLES["reuse"].schema
    assert schema.field("distance_min") == pa.field("distance_min", pa.uint64(), nullable=True)
    assert schema.field("count") == pa.field("count", pa.uint64(), nullable=False)
