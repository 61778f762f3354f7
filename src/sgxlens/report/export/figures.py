# SPDX-License-Identifier: Apache-2.0
"""Figures for papers and slides, drawn by matplotlib.

They are vectors by default, told apart without colour (by hatches, lines and grey values) and by
those who see few colours (Okabe and Ito, "Color Universal Design", 2008), and labelled with units.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from sgxlens.enclave.charges import CAUSE_TITLES, CAUSES, Cause
from sgxlens.errors import UsageError
from sgxlens.recording.phase_names import is_inference
from sgxlens.reuse.curves import miss_ratio_curve
from sgxlens.text import one_line
from sgxlens.units import format_bytes, format_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgxlens.prediction.model import OperatorTime
    from sgxlens.prediction.result import Prediction
    from sgxlens.report.document import Document
    from sgxlens.reuse.histogram import ReuseHistogram

#: Text in them is text, and never a formula: names may hold a dollar.
_STYLE: Final = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e0e0e0",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "sgxlens",
    "text.parse_math": False,
}
_NATIVE_COLOUR = "#d9d9d9"
_COLOURS: dict[Cause, str] = {
    "compute": "#56b4e9",
    "transitions": "#e69f00",
    "encryption": "#009e73",
    "paging": "#0072b2",
    "runtime": "#cc79a7",
}
_HATCHES: dict[Cause, str] = {
    "compute": "----",
    "transitions": "\\\\\\\\",
    "encryption": "////",
    "paging": "",
    "runtime": "xxxx",
}
_LINES = (
    ("#0072b2", "-", "o"),
    ("#d55e00", "--", "s"),
    ("#009e73", "-.", "^"),
    ("#000000", ":", "D"),
)
_BLOCKS = {"line": "64-byte lines", "page": "4-KiB pages"}
_SMALLEST_BYTES = 32 << 10
_WIDTH_INCHES = 6.5
_OPERATORS_MAX = 25
#: What is a smaller part of the longest bar cannot be seen.
_VISIBLE = 0.004
#: Curves that differ by less of the highest value look like one.
_ALIKE = 0.02
_NAME_MAX = 34
_DPI = 200


def check_matplotlib() -> None:
    """Refuse to draw without matplotlib, before anything else is done.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError(
            "figures need matplotlib, which is not installed: pip install 'sgxlens[figures]'"
        )


def figures(
    document: Document, predictions: Sequence[Prediction], format_: str = "svg"
) -> dict[str, bytes]:
    """All figures for which there are numbers, by the name of their file.

    Args:
        document: what `sgxlens show` says of the recording.
        predictions: what it would cost, one for each platform; may be none.
        format_: ``svg``, ``png`` or ``pdf``.

    Raises:
        UsageError: matplotlib is not installed.
    """
    check_matplotlib()
    import matplotlib as mpl

    makers: dict[str, Callable[[], Figure | None]] = {
        "time-by-cause": lambda: _by_cause(predictions),
        "epc-curve": lambda: _epc_curve(predictions),
        "miss-ratio": lambda: _miss_ratio(document, predictions),
        "reuse-distance": lambda: _reuse_distance(document),
        "operators": lambda: _operators(predictions),
    }
    found = {}
    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE}):
        for name, make in makers.items():
            figure = make()
            if figure is not None:
                found[f"{name}.{format_}"] = _drawn(figure, format_)
    return found


def _drawn(figure: Figure, format_: str) -> bytes:
    sink = io.BytesIO()
    # Without the date, the same numbers make the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[format_]
    figure.savefig(sink, format=format_, dpi=_DPI, metadata=metadata)
    return sink.getvalue()


def _new_figure(
    height_inches: float, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


def _by_cause(predictions: Sequence[Prediction]) -> Figure | None:
    """Time inside by cause, a bar for each platform, with its range."""
    if not predictions:
        return None
    figure, (axes,) = _new_figure(1.0 + 0.36 * len(predictions))
    unit, factor = _time_unit(max(p.steady.sgx_seconds.likely for p in predictions))
    rows = range(len(predictions))
    native = [p.steady.native.median_seconds * factor for p in predictions]
    parts = [
        {row.cause: row.added_seconds.likely * factor for row in p.steady.causes}
        for p in predictions
    ]
    _stack(axes, native, parts)
    for row, prediction in zip(rows, predictions, strict=True):
        inside = prediction.steady.sgx_seconds
        ends = (inside.likely - inside.low, inside.high - inside.likely)
        # Black on white, whatever it crosses.
        for colour, width in (("white", 2.6), ("black", 1.0)):
            axes.errorbar(
                inside.likely * factor,
                row,
                xerr=[[end * factor] for end in ends],
                color=colour,
                capsize=2.5,
                capthick=width,
                elinewidth=width,
            )
        slowdown = prediction.steady.slowdown
        axes.annotate(
            f"{format_ratio(slowdown.likely)}\u00d7"
            f" ({format_ratio(slowdown.low)} to {format_ratio(slowdown.high)})",
            (inside.high * factor, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(list(rows), [_place(p) for p in predictions])
    axes.invert_yaxis()
    # Room for what is written behind the longest bar.
    axes.set_xlim(0, 1.4 * max(p.steady.sgx_seconds.high for p in predictions) * factor)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        f"predicted time of {_name(predictions[0])} inside the enclave ({unit}),"
        f" {_runtime(predictions[0])}"
    )
    _legend_above(figure)
    return figure


def _stack(axes: Axes, native: Sequence[float], parts: Sequence[Mapping[Cause, float]]) -> None:
    """Bars of native time and what each cause adds; causes too small to be seen have no legend."""
    rows = list(range(len(native)))
    style: dict[str, Any] = {"height": 0.62, "edgecolor": "white", "linewidth": 0.4}
    axes.barh(rows, native, color=_NATIVE_COLOUR, label="native", **style)
    left = list(native)
    largest = max(
        (sum(part.values()) + n for part, n in zip(parts, native, strict=True)), default=0
    )
    for cause in CAUSES:
        widths = [part.get(cause, 0.0) for part in parts]
        is_visible = max(widths, default=0) >= _VISIBLE * largest
        axes.barh(
            rows,
            widths,
            left=left,
            color=_COLOURS[cause],
            hatch=_HATCHES[cause],
            label=CAUSE_TITLES[cause] if is_visible else None,
            **style,
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]


def _operators(predictions: Sequence[Prediction]) -> Figure | None:
    """The operators that take longest on the platform where all is slowest."""
    with_operators = [p for p in predictions if p.steady.operators]
    if not with_operators:
        return None
    slowest = max(with_operators, key=lambda p: p.steady.slowdown.likely)

    def inside(row: OperatorTime) -> float:
        return (row.native_seconds or 0) + row.added_seconds.likely

    ranked = sorted(slowest.steady.operators, key=lambda row: -inside(row))
    shown = ranked[:_OPERATORS_MAX]
    rest = len(ranked) - len(shown)
    unit, factor = _time_unit(inside(shown[0]))
    figure, (axes,) = _new_figure(1.1 + 0.17 * len(shown))
    native = [(row.native_seconds or 0) * factor for row in shown]
    parts = [
        {cause: seconds * factor for cause, seconds in row.added_seconds_by_cause.items()}
        for row in shown
    ]
    _stack(axes, native, parts)
    labels = [
        f"{one_line(row.name, _NAME_MAX)} ({one_line(row.type, 20)})"
        if row.operator is not None
        else "between operators"
        for row in shown
    ]
    axes.set_yticks(list(range(len(shown))), labels, fontsize=7)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.05 * inside(shown[0]) * factor)
    axes.grid(visible=False, axis="y")
    more = f"; {rest} that take less are not shown" if rest else ""
    axes.set_title(f"{_place(slowest)}, {_runtime(slowest)}{more}")
    axes.set_xlabel(f"predicted time of each operator inside the enclave ({unit})")
    _legend_above(figure)
    return figure


def _legend_above(figure: Figure) -> None:
    figure.legend(loc="outside upper center", ncols=6, handlelength=1.4, columnspacing=1.2)


def _epc_curve(predictions: Sequence[Prediction]) -> Figure | None:
    """What paging adds against the size of the EPC, with the platforms' sizes marked."""
    paged = [p for p in predictions if any(point.load_count for point in p.epc.curve)]
    if not paged:
        return None
    figure, (axes,) = _new_figure(2.9)
    # Smaller than this, an EPC is of no interest, and would be all that one sees.
    least = min(paged[0].epc.footprint_bytes / 8, *(p.deployment.epc_bytes.low for p in paged))
    curves = [_Curve(prediction, least) for prediction in paged]
    highest = max(float(curve.at(curve.epc_bytes, "high").max()) for curve in curves)
    unit, factor = _time_unit(highest)
    groups = _alike(curves, highest)
    for same, (colour, dashes, marker) in zip(groups, _cycle(len(groups)), strict=True):
        _paging(axes, same, factor, {"color": colour, "linestyle": dashes}, marker)
    footprint = paged[0].epc.footprint_bytes / 2**20
    _mark(axes, footprint, f"footprint {format_bytes(footprint * 2**20)}", "right")
    _sizes_axis(axes)
    axes.set_xlabel("EPC that enclaves can use; marks: the platforms")
    axes.set_ylabel(f"added by paging to {_name(paged[0])} ({unit})")
    axes.set_ylim(0, 1.12 * highest * factor)
    figure.legend(loc="outside upper center", ncols=1, handlelength=2.4)
    return figure


def _alike(curves: Sequence[_Curve], highest: float) -> list[list[_Curve]]:
    """Platforms by curve: with one driver and one price of a page load they have the same."""
    groups: list[list[_Curve]] = []
    for curve in curves:
        for group in groups:
            other = group[0]
            sizes = np.union1d(curve.epc_bytes, other.epc_bytes)
            apart = np.abs(curve.at(sizes, "likely") - other.at(sizes, "likely"))
            if apart.max() <= _ALIKE * highest:
                group.append(curve)
                break
        else:
            groups.append([curve])
    return groups


class _Curve:
    """Paging against the size of the EPC, of EPCs of at least `least_bytes`."""

    def __init__(self, prediction: Prediction, least_bytes: float) -> None:
        self.prediction = prediction
        points = [p for p in prediction.epc.curve if p.epc_bytes >= least_bytes]
        self._ranges = [point.added_seconds for point in points]
        self.epc_bytes = np.asarray([point.epc_bytes for point in points], dtype=np.float64)

    def at(self, sizes_bytes: npt.NDArray[np.float64], end: str) -> npt.NDArray[np.float64]:
        """The low, likely or high added seconds with EPCs of these sizes."""
        seconds = [getattr(one, end) for one in self._ranges]
        return np.asarray(np.interp(sizes_bytes, self.epc_bytes, seconds))


def _paging(
    axes: Axes, same: Sequence[_Curve], factor: float, style: dict[str, Any], marker: str
) -> None:
    """The curve of platforms that differ in its range at most, and where each of them is."""
    sizes = np.unique(np.concatenate([curve.epc_bytes for curve in same]))
    axes.plot(
        sizes / 2**20,
        same[0].at(sizes, "likely") * factor,
        label=", ".join(_place(curve.prediction) for curve in same),
        **style,
    )
    axes.fill_between(
        sizes / 2**20,
        np.min([curve.at(sizes, "low") for curve in same], axis=0) * factor,
        np.max([curve.at(sizes, "high") for curve in same], axis=0) * factor,
        color=style["color"],
        alpha=0.13,
        linewidth=0,
    )
    for prediction in (curve.prediction for curve in same):
        paging = next(row for row in prediction.steady.causes if row.cause == "paging")
        axes.plot(
            prediction.deployment.epc_bytes.likely / 2**20,
            paging.added_seconds.likely * factor,
            marker,
            color=style["color"],
            markersize=6,
            markeredgecolor="white",
            clip_on=False,
            zorder=3,
        )


def _mark(axes: Axes, value: float, text: str, side: Literal["left", "right"] = "left") -> None:
    """A line across at a value of the horizontal axis, with what it is at one side."""
    axes.axvline(value, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
    axes.annotate(
        text,
        (value, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-2 if side == "left" else 2, -2),
        textcoords="offset points",
        rotation=90,
        ha="right" if side == "left" else "left",
        va="top",
        fontsize=6.5,
    )


def _miss_ratio(document: Document, predictions: Sequence[Prediction]) -> Figure | None:
    """Miss ratios of LRU memories, at both granularities."""
    histograms = {n: h for n, h in document.reuse.histograms.items() if h.total}
    if not histograms:
        return None
    largest = max(document.reuse.capacity_bytes)
    sizes = np.unique(np.geomspace(_SMALLEST_BYTES, largest, 300).astype(np.int64))
    ratios = {name: _ratios(histogram, sizes) for name, histogram in histograms.items()}
    found = np.concatenate([high for _, high in ratios.values()])
    if not found.any():
        return None
    figure, (axes,) = _new_figure(2.9)
    axes.set_yscale("log")
    for (name, (low, high)), (colour, dashes, _) in zip(ratios.items(), _LINES, strict=False):
        # On this scale there is no place for 0.
        shown = np.where(high > 0, high, np.nan)
        axes.plot(sizes / 2**20, shown, color=colour, linestyle=dashes, label=_BLOCKS[name])
        axes.fill_between(sizes / 2**20, low, high, color=colour, alpha=0.2, linewidth=0)
    for text, value in _marked(predictions):
        _mark(axes, value, text)
    axes.set_ylim(bottom=float(found[found > 0].min()) / 2, top=1.0)
    _shares_axis(axes)
    _sizes_axis(axes)
    axes.set_xlabel("capacity of an LRU memory")
    axes.set_ylabel("misses in accesses")
    axes.legend(loc="lower left")
    return figure


def _ratios(
    histogram: ReuseHistogram, sizes_bytes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The least and the most that memories of these sizes miss, as shares of the accesses."""
    curve = miss_ratio_curve(histogram, (sizes_bytes // histogram.block_bytes).tolist())
    counts = (curve.miss_count_low, curve.miss_count_high)
    low, high = (count.astype(np.float64) / histogram.total for count in counts)
    return low, high


def _marked(predictions: Sequence[Prediction]) -> Iterator[tuple[str, float]]:
    """Caches and EPCs of the platforms, in MiB; those of nearly one size are marked once."""
    for what, field in (("LLC", "llc_bytes"), ("EPC", "epc_bytes")):
        sizes = sorted({getattr(p.deployment, field).likely for p in predictions})
        while sizes:
            near = [size for size in sizes if size <= 1.2 * sizes[0]]
            sizes = sizes[len(near) :]
            ends = [format_bytes(size) for size in (near[0], near[-1])]
            yield f"{what} {' to '.join(dict.fromkeys(ends))}", near[0] / 2**20


def _reuse_distance(document: Document) -> Figure | None:
    """How the accesses are distributed over reuse distances, at both granularities."""
    histograms = document.reuse.histograms
    if not any(histogram.total for histogram in histograms.values()):
        return None
    figure, panels = _new_figure(2.6, 2, sharey=True)
    for axes, name, (colour, _, _), hatch in zip(
        panels, _BLOCKS, _LINES, ("", "////"), strict=False
    ):
        histogram = histograms[name]
        total = max(histogram.total, 1)
        rows = list(document.reuse.rows)
        while rows and not rows[-1].counts[name]:
            rows.pop()
        labels = [_distance(row.distance_min_blocks * histogram.block_bytes) for row in rows]
        style: dict[str, Any] = {"width": 0.85, "edgecolor": "white", "linewidth": 0.4}
        shares = [row.counts[name] / total for row in rows]
        axes.bar(range(len(rows)), shares, color=colour, hatch=hatch, **style)
        axes.bar(len(rows), histogram.cold_count / total, color="#000000", **style)
        axes.set_xticks(
            range(len(rows) + 1),
            [*labels, "cold"],
            rotation=60,
            ha="right",
            rotation_mode="anchor",
            fontsize=7,
        )
        axes.grid(visible=False, axis="x")
        axes.set_title(_BLOCKS[name])
        axes.set_xlabel("reuse distance, at least")
    panels[0].set_yscale("log")
    _shares_axis(panels[0])
    panels[0].set_ylabel("share of accesses")
    return figure


def _distance(size_bytes: int) -> str:
    return format_bytes(size_bytes) if size_bytes else "0"


def _shares_axis(axes: Axes) -> None:
    """Shares as percent, on a scale of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=7))
    axes.yaxis.set_minor_locator(LogLocator(base=10, numticks=20))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{100 * ratio:.10g} %"))


def _sizes_axis(axes: Axes) -> None:
    """Sizes in MiB as powers of two."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: format_bytes(size * 2**20)))


def _cycle(count: int) -> list[tuple[str, str, str]]:
    return [_LINES[index % len(_LINES)] for index in range(count)]


def _time_unit(seconds: float) -> tuple[str, float]:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return unit, factor
    return "\u00b5s", 1e6


def _place(prediction: Prediction) -> str:
    place = prediction.deployment
    return f"{one_line(place.platform, 30)} (EPC {format_bytes(place.epc_bytes.likely)})"


def _runtime(prediction: Prediction) -> str:
    return one_line(prediction.deployment.runtime_title, 40)


def _name(prediction: Prediction) -> str:
    name = prediction.steady.name
    return "an inference" if is_inference(name) else one_line(name, 30)
