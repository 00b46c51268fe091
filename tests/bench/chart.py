# SPDX-License-Identifier: MIT
"""The list path as a picture: requests a second and latency by contender and connections."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from tables import NAMES  # noqa: E402

COLOURS = {"haproxy": "#8a8f98", "chasqui": "#c0392b", "plain": "#e3a59e", "php": "#4f6d9a"}


def bars(axis, contenders, key, unit):
    names = [name for name in ("haproxy", "chasqui", "php") if name in contenders]
    points = list(contenders["chasqui"])
    for at, name in enumerate(names):
        figures = [contenders[name][point][key] for point in points]
        middles = [one["median"] / unit for one in figures]
        spread = [[(one["median"] - one["low"]) / unit for one in figures], [(one["high"] - one["median"]) / unit for one in figures]]
        where = [number + (at - (len(names) - 1) / 2) * 0.27 for number in range(len(points))]
        axis.bar(where, middles, 0.25, yerr=spread, capsize=2, color=COLOURS[name], label=NAMES[name], error_kw={"lw": 0.8})
        for x, y in zip(where, middles, strict=True):
            axis.annotate(f"{y:,.0f}" if y >= 10 else f"{y:.2f}", (x, y), ha="center", va="bottom", fontsize=7)
    axis.set_xticks(range(len(points)), [f"{point} connection{'' if point == '1' else 's'}" for point in points])
    axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)


def draw(result, path):
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "chasqui", "font.size": 9, "font.family": "sans-serif"})
    figure, (rate, latency) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    bars(rate, result["contenders"], "rate", 1)
    rate.set_title("lists a second")
    rate.legend(frameon=False)
    bars(latency, result["contenders"], "p99_us", 1000)
    latency.set_title("p99, ms")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
