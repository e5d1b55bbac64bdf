"""What one run of the bench is to do, and how it tells what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.series import Figure, Series


@dataclass(frozen=True, slots=True)
class Run:
    """How long and what to measure, and where."""

    folder: Path
    rounds: int
    seconds: int
    only: str
    quick: bool

    def wants(self, name: str) -> bool:
        """Say whether a series is to be measured."""
        return self.only in name


def report(one: Series, figures: dict[str, Figure]) -> None:
    """Print a series: each server's figures and their ratio to the fastest distribution's, else to the first's."""
    print(f"{one.name}, per {one.unit.removesuffix('s')}")
    yardsticks = [figure for name, figure in figures.items() if name.startswith(servers.DISTRIBUTED)]
    first = max(yardsticks, key=lambda figure: figure.rate, default=next(iter(figures.values())))
    for name, figure in figures.items():
        micro = one.unit != "GiB"
        rate = f"{figure.rate:,.0f}/s" if micro else f"{figure.rate:.2f} GiB/s"
        cost = f"{figure.cost * 1e6:,.0f} us" if micro else f"{figure.cost:.2f} s"
        ratios = f"{figure.rate / first.rate:.2f} x the rate, {figure.cost / first.cost:.2f} x the CPU"
        print(f"  {name:<24} {rate:>14}  CPU {cost:>10}   {ratios}")
    print(flush=True)
