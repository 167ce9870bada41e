"""``dexhil plan-eval``: how many trials before the trials."""

import math
from collections.abc import Callable
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from agents.plan_eval import barnard_p, paired_power, smallest_difference, trials_needed, unpaired_power, z_test_trials
from agents.study.paper import PAPER, PAPER_TRIALS
from dexhil_env.errors import ConfigError

_TITLES = {"dexhil": "DexHiL", "dagger": "DAgger*", "baseline": "Baseline"}
_BASES = (5, 20, 35, 50, 65, 80, 95)


def plan_eval(
    rates: Annotated[tuple[float, ...], tyro.conf.Positional] = (),
    difference: float | None = None,
    trials: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    correlation: float | None = None,
) -> None:
    """How many trials does a comparison of two policies need, and what can a number of trials show?

    dexhil plan-eval 80 95              trials per policy to tell 80 % from 95 %

    dexhil plan-eval --difference 15    the same for 15 points around 50 %, the hardest place

    dexhil plan-eval 80 95 --trials 20  chance that 20 trials each show it

    dexhil plan-eval 80 --trials 20     the nearest rates that 20 trials each tell from 80 %

    dexhil plan-eval --trials 50        that for all rates

    dexhil plan-eval                    that for the paper's 20 trials, and what its table I can show

    Paired: both policies on the same scenes (equal --seed), exact McNemar test, as `dexhil eval --against` reports. Unpaired: scenes of
    their own, as on a real table, Barnard's exact test. Power is counted over all outcomes, not approximated. Trials answer for the
    policies that were run; whether a *method* is better needs several training seeds too (`dexhil study`).

    Args:
        rates: none, one or two success rates [%].
        difference: two rates this far apart, the same distance from 50 % [points].
        trials: trials per policy that you can afford.
        power: wanted probability of showing a difference that is there.
        alpha: accepted probability of showing one that is not.
        correlation: of success on equal scenes; by default 0.2, as measured in the first run, or less where the rates allow no more.
    """
    _check(rates, difference, trials, power, alpha)
    if difference is not None:
        rates = (50 - difference / 2, 50 + difference / 2)
    plan = _Plan(power, alpha, correlation)
    if len(rates) == 2:
        plan.two(rates[0] / 100, rates[1] / 100, trials)
        return
    plan.detectable([rate / 100 for rate in rates or _BASES], trials or PAPER_TRIALS)
    if not rates and trials is None:
        plan.paper()


def _check(rates: tuple[float, ...], difference: float | None, trials: int | None, power: float, alpha: float) -> None:
    if len(rates) > 2 or (rates and difference is not None):
        raise ConfigError(f"give up to two success rates, or --difference alone; got {rates}")
    if any(not 0 <= rate <= 100 or 0 < rate < 1 for rate in rates) or (len(rates) == 2 and rates[0] == rates[1]):
        raise ConfigError(f"success rates are different numbers in percent, 0 to 100 (80, not 0.8); got {rates}")
    if difference is not None and not 1 <= difference < 100:
        raise ConfigError(f"--difference is in points, 1 to 99 (15, not 0.15); got {difference}")
    if not 0 < power < 1 or not 0 < alpha < 1 or (trials is not None and not 2 <= trials <= 2000):
        raise ConfigError(f"power and alpha lie between 0 and 1, --trials between 2 and 2000; got {power}, {alpha}, {trials}")
    if len(rates) == 1 and trials is None:
        raise ConfigError("one success rate needs --trials (what can they show?) or a second rate (how many are needed?)")


class _Plan:
    """Prints answers.

    Args:
        power: what is wanted.
        alpha: what is risked.
        correlation: of success on equal scenes, or None for the usual one.
    """

    def __init__(self, power: float, alpha: float, correlation: float | None) -> None:
        self.wanted, self.alpha, self.correlation = power, alpha, correlation
        self.console = Console()

    def paired(self, first: float, second: float, n: int) -> float:
        """Power on the same scenes."""
        return paired_power(first, second, n, self.alpha, self.correlation)

    def unpaired(self, first: float, second: float, n: int) -> float:
        """Power on scenes of their own."""
        return unpaired_power(first, second, n, self.alpha)

    def two(self, first: float, second: float, trials: int | None) -> None:
        """Say how many trials tell two rates apart, and what ``trials`` of them can do."""
        textbook = math.ceil(z_test_trials(first, second, self.wanted, self.alpha))
        designs = (("same scenes, exact McNemar test", self.paired), ("scenes of their own, Barnard's exact test", self.unpaired))
        columns = ["design", f"trials per policy for power {self.wanted:g}", *([f"power with {trials}"] if trials else [])]
        table = Table(*columns, title=f"{100 * first:g} % against {100 * second:g} %, alpha {self.alpha:g}, two-sided")
        for name, power_of in designs:
            needed = trials_needed(lambda n, power_of=power_of: power_of(first, second, n), self.wanted, textbook)
            table.add_row(name, str(needed), *([f"{power_of(first, second, trials):.2f}"] if trials else []))
        self.console.print(table)
        self.console.print(f"(textbook z test, unpaired: {textbook})")

    def detectable(self, bases: list[float], trials: int) -> None:
        """Say which rates are told from some base rates."""
        table = Table("one policy", "other, same scenes", "other, scenes of its own", title=f"What {trials} trials per policy can show")
        for base in bases:
            cells = [self._nearest(base, trials, power_of) for power_of in (self.paired, self.unpaired)]
            table.add_row(f"{100 * base:g} %", *cells)
        self.console.print(table)
        self.console.print(f"with power {self.wanted:g} or more, alpha {self.alpha:g}, two-sided")

    def _nearest(self, base: float, trials: int, power_of: Callable[[float, float, int], float]) -> str:
        parts: list[str] = []
        for up, words in ((False, "or less"), (True, "or more")):
            other = smallest_difference(lambda a, b: power_of(a, b, trials), base, self.wanted, up)
            parts += [f"{100 * other:g} % {words}"] if other is not None else []
        return ", ".join(parts) or "nothing"

    def paper(self) -> None:
        """Say what the last round of the paper's table I can show, taking its rates as the true ones."""
        table = Table(
            "task", "arms", "successes", "Barnard p", f"power with {PAPER_TRIALS}", "trials needed", title="Paper, table I, round 3"
        )
        for task, arms in PAPER.items():
            for other in ("dagger", "baseline"):
                one, two = arms["dexhil"][-1], arms[other][-1]
                p = barnard_p(PAPER_TRIALS)[one, two]
                a, b = one / PAPER_TRIALS, two / PAPER_TRIALS
                needed = trials_needed(lambda n, a=a, b=b: self.unpaired(a, b, n), self.wanted)
                name = f"{_TITLES['dexhil']} against {_TITLES[other]}"
                table.add_row(task, name, f"{one} against {two}", f"{p:.2g}", f"{self.unpaired(a, b, PAPER_TRIALS):.2f}", str(needed))
        self.console.print(table)
        self.console.print("power and trials needed: scenes of their own, if the measured rates were the true ones")
