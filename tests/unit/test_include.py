# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
#include <sgxlens/mark.h>
int main(void) { return sgxlens_mark("inference"); }
"""


@pytest.fixture(scope="module")
def include_folder() -> str:
    return subprocess.check_output([sys.executable, "-m", "sgxlens.include"], text=True).strip()


@pytest.mark.parametrize(
    ("compiler", "suffix"),
    [
        (["cc", "-std=c99"], "c"),
        (["cc", "-std=c17", "-O2"], "c"),
        (["c++", "-std=c++11", "-O2"], "cpp"),
        (["c++", "-std=c++20"], "cpp"),
    ],
)
def test_a_mark_costs_nothing_where_nothing_records(
    tmp_path: Path, include_folder: str, compiler: list[str], suffix: str
) -> None:
    source = tmp_path / f"program.{suffix}"
    source.write_text(PROGRAM)
    program = tmp_path / "program"
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(
        [*compiler, *warnings, f"-I{include_folder}", str(source), "-o", str(program)], check=True
    )
    assert subprocess.run([str(program)], check=False).returncode == 0
