# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import subprocess
import sys

import pytest

import sgxlens


@pytest.mark.parametrize("name", sgxlens.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(sgxlens, name) is not None


def test_public_names_are_listed_once_and_shown_by_dir() -> None:
    assert len(set(sgxlens.__all__)) == len(sgxlens.__all__)
    assert set(sgxlens.__all__) <= set(dir(sgxlens))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sgxlens.no_such_name


def test_the_version_is_that_of_the_package() -> None:
    assert sgxlens.__version__ == importlib.metadata.version("sgxlens")


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, sgxlens; print(*sorted(sys.modules))"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    heavy = {"numpy", "pyarrow", "pydantic", "rich", "click", "sgxlens._native"}
    assert heavy.isdisjoint(modules)
