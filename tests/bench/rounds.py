# SPDX-License-Identifier: MIT
"""Rounds: every contender in turn, again and again, so that what the machine does meanwhile falls on all of them alike.

A figure is the median over the rounds with the lowest and the highest; a ratio is made within each round first.
"""

from statistics import median


class Figure:
    def __init__(self, values):
        self.values = list(values)

    @property
    def mid(self):
        return median(self.values)

    @property
    def low(self):
        return min(self.values)

    @property
    def high(self):
        return max(self.values)

    def as_json(self):
        return {"median": self.mid, "low": self.low, "high": self.high, "rounds": self.values}


def collect(rounds, names, measure, say=None):
    """measure(name) -> {key: number or {label: number}}; answers {name: [what each round gave]}."""
    taken = {name: [] for name in names}
    for number in range(rounds):
        order = list(names) if number % 2 == 0 else list(reversed(names))
        for name in order:
            taken[name].append(measure(name))
            if say:
                say(number, name, taken[name][-1])
    return taken


def figure(taken, key):
    return Figure(one[key] for one in taken).as_json()


def ratio(taken, other, key):
    """By round: taken's over other's."""
    return Figure(a[key] / b[key] if b[key] else 0 for a, b in zip(taken, other, strict=True)).as_json()


def by_label(taken, key):
    """{label: median} of a measure that is a dict."""
    labels = taken[0][key]
    return {label: median(one[key][label] for one in taken) for label in labels}
