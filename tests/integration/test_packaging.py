# SPDX-License-Identifier: Apache-2.0
"""What `pip` builds from this tree, with Valgrind and without."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HAS_VALGRIND = Path("/usr/include/valgrind/pub_tool_tooliface.h").exists()

pytestmark = pytest.mark.slow


def _wheel(folder: Path, *options: str) -> tuple[Path, str]:
    """Builds a wheel; returns it and what pip said, in one line."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "-v", "--no-build-isolation", "--no-deps"),
            *("-w", str(folder), "-C", f"build-dir={folder}/build", *options, str(ROOT)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    (wheel,) = folder.glob("*.whl")
    return wheel, " ".join((done.stdout + done.stderr).split())


def _run(wheel: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Unpacks the wheel and runs Python with it, away from the sources."""
    unpacked = folder / "unpacked"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--target",
            str(unpacked),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    return subprocess.run(
        # Without site: an editable installation would mix with what was unpacked.
        [sys.executable, "-S", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{unpacked}:{sysconfig.get_path('platlib')}"},
    )


DOCTOR = "import sys, sgxlens.cli.main as m; print(m.__file__); sys.exit(m.main(['doctor']))"


@pytest.mark.skipif(not HAS_VALGRIND, reason="Valgrind's headers are not installed")
def test_a_wheel_holds_all_that_recording_needs(tmp_path: Path) -> None:
    wheel, _ = _wheel(tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert any(name.startswith("sgxlens/_native.") for name in names)
    assert {
        "sgxlens/_tracer/launcher",
        "sgxlens/_tracer/sgxlens-amd64-linux",
        "sgxlens/_tracer/vgpreload_core-amd64-linux.so",
        "sgxlens/_tracer/default.supp",
        "sgxlens/_tracer/BUILD_INFO.json",
        "sgxlens/_tracer/COPYING",
        "sgxlens/include/sgxlens/mark.h",
        "sgxlens/py.typed",
        "sgxlens/enclave/platforms/xeon-e-2288g.toml",
        "sgxlens/enclave/runtimes/gramine.toml",
        "sgxlens/report/web/report.css",
        "sgxlens/report/web/report.js",
        "sgxlens/report/schema/show.schema.json",
    } <= names
    for name in ("LICENSE", "NOTICE", "COPYING"):
        assert any("/licenses/" in path and path.endswith(name) for path in names)
    done = _run(wheel, tmp_path, "-c", DOCTOR)
    assert str(tmp_path) in done.stdout
    assert done.returncode == 0, done.stdout


def test_without_valgrind_the_package_is_built_without_its_tracer(tmp_path: Path) -> None:
    wheel, said = _wheel(tmp_path, "-C", "cmake.define.SGXLENS_VALGRIND_INCLUDE=/nonexistent/x/y")
    assert said.count("sgxlens is built without its tracer") == 1
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("sgxlens/_native.") for name in names)
    assert not any(name.startswith("sgxlens/_tracer/") for name in names)
    done = _run(wheel, tmp_path, "-c", DOCTOR)
    assert str(tmp_path) in done.stdout
    assert done.returncode == 1
    assert "apt-get install valgrind" in done.stdout
