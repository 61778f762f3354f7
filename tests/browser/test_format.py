# SPDX-License-Identifier: Apache-2.0
"""Numbers look on the page as in the terminal, to the character."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sgxlens.enclave.quantities import Range
from sgxlens.report.terminal.layout import percent, share
from sgxlens.report.terminal.values import (
    expected_count,
    number,
    of_native,
    seconds_range,
    signed_count,
    signed_range,
    value_range,
)
from sgxlens.units import (
    format_bytes,
    format_count,
    format_needed_bytes,
    format_ratio,
    format_seconds,
    format_signed_ratio,
    format_signed_seconds,
)

ROOT = Path(__file__).parents[2]
TWINS: dict[str, Callable[[float], str]] = {
    "bytes": format_bytes,
    "neededBytes": format_needed_bytes,
    "count": format_count,
    "expectedCount": expected_count,
    "seconds": format_seconds,
    "ratio": format_ratio,
    "number": number,
    "percent": percent,
}
#: Of differences.
SIGNED_TWINS: dict[str, Callable[[float], str]] = {
    "signedCount": signed_count,
    "signedSeconds": format_signed_seconds,
    "signedRatio": format_signed_ratio,
}
RUN = """
const f = require(process.argv[1]);
const { values, pairs } = JSON.parse(require("fs").readFileSync(0));
const out = Object.fromEntries(%s.map(name => [name, values.map(v => f[name](v))]));
out.share = pairs.map(([a, b]) => f.share(a, b));
out.ofNative = pairs.map(([a, b]) => f.ofNative(a, b));
const both = values.concat(values.map(v => -v));
for (const name of %s) out[name] = both.map(v => f[name](v));
out.signedRange = pairs.map(([a, b]) => f.range({low: -b, high: a}, f.signedSeconds));
out.range = pairs.map(([a, b]) => f.range({low: a, high: b}, f.seconds));
out.sizeRange = pairs.map(([a, b]) => f.range({low: a, high: b}, f.bytes));
out.countRange = pairs.map(([a, b]) => f.range({low: a, high: b}, f.expectedCount));
console.log(JSON.stringify(out));
"""


def values() -> list[float]:
    chance = np.random.default_rng(5)
    found: list[float] = [0, 0.5, 1, 2.5, 9.995, 99.95, 999.5, 1023, 1024, 9999, 10_000, 0.0009995]
    # Halves of the last digit, which Python rounds to even and JavaScript away from zero.
    found += [k / 8 for k in range(1, 400)] + [k + 0.5 for k in range(1000)]
    found += (chance.random(4000) * 10.0 ** chance.integers(-9, 16, 4000)).tolist()
    found += (chance.random(1000) * 10.0 ** chance.integers(1, 16, 1000)).round().tolist()
    return found


def test_formats_are_those_of_python(tmp_path: Path, node: str) -> None:
    bundle = tmp_path / "format.cjs"
    esbuild = ROOT / "web/node_modules/.bin/esbuild"
    subprocess.run(
        [esbuild, ROOT / "web/src/format.ts", "--format=cjs", f"--outfile={bundle}"],
        check=True, capture_output=True,
    )  # fmt: skip
    singles = values()
    pairs = [
        (min(a, b), max(a, b)) for a, b in zip(singles, reversed(singles), strict=True) if a or b
    ]
    done = subprocess.run(
        [node, "-e", RUN % (json.dumps(list(TWINS)), json.dumps(list(SIGNED_TWINS))), bundle],
        input=json.dumps({"values": singles, "pairs": pairs}),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    for name, twin in TWINS.items():
        assert found[name] == [twin(value) for value in singles], name
    both = singles + [-value for value in singles]
    for name, twin in SIGNED_TWINS.items():
        assert found[name] == [twin(value) for value in both], name
    assert found["share"] == [share(a, b) for a, b in pairs]
    assert found["ofNative"] == [of_native(a, b) for a, b in pairs]
    ranges = [Range(low, high, high) for low, high in pairs]
    assert found["range"] == [seconds_range(one) for one in ranges]
    differences = [Range(-high, -high, low) for low, high in pairs]
    assert found["sizeRange"] == [value_range(one, format_bytes) for one in ranges]
    assert found["countRange"] == [value_range(one, expected_count) for one in ranges]
    assert found["signedRange"] == [signed_range(one) for one in differences]
