"""What is compared: every arm is one way of getting and using data, on the same budget."""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from agents.filters import FilterConfig
from agents.weights import WeightConfig

WARMUP: Final = "warmup"
"""Name of the stage that all arms share: the policy trained on the offline demonstrations."""
EXPERT: Final = "expert"
"""Name of the stage that measures the simulated human itself: success and false alarms."""

DataSource = Literal["own", "shared", "offline", "on-site", "none"]

CORRECTIONS: Final = FilterConfig(intervention_free="drop")
"""What is trained on unless an arm says otherwise: demonstrations, and from every corrected success the last intervention to completion.
Trials in which nobody had to help teach the policy its own habits (docs/study_log.md); an arm that keeps them measures that."""


@dataclass(frozen=True)
class Arm:
    """One way to post-train.

    Attributes:
        title: short name for tables and figures.
        note: one sentence that says what differs from DexHiL.
        data: ``"own"`` deploys this arm's policy under the simulated human and records corrections; ``"shared"`` trains on the very
            corrections that the arm ``share`` recorded (a paired comparison of how data is used); ``"offline"`` adds as many
            demonstrations instead, ``"on-site"`` too, but recorded where the policy works (they differ where a study's demonstrations come
            from elsewhere); ``"none"`` adds nothing.
        share: whose corrections a ``"shared"`` arm uses.
        weights: how corrections count.
        filters: what is trained on.
        operator: habits of the simulated human that differ from the study's.
    """

    title: str
    note: str
    data: DataSource = "shared"
    share: str = "dexhil"
    weights: WeightConfig = field(default_factory=WeightConfig)
    filters: FilterConfig = CORRECTIONS
    operator: dict[str, Any] = field(default_factory=dict)


MAIN_ARMS: Final = ("dexhil", "dagger", "baseline")
"""The paper's three arms; only these are evaluated after every round."""

_UNWEIGHTED: Final = WeightConfig(mode="none")
ARMS: Final[dict[str, Arm]] = {
    "dexhil": Arm("DexHiL", "arm-and-hand corrections, last-intervention filter, P*(intervention) = 0.5", data="own"),
    "dagger": Arm("DAgger*", "the same corrections without weighting", weights=_UNWEIGHTED),
    "baseline": Arm("Baseline", "as many demonstrations instead of corrections", data="offline", weights=_UNWEIGHTED),
    "on-site": Arm(
        "On-site demonstrations", "as many demonstrations, recorded where the policy works", data="on-site", weights=_UNWEIGHTED
    ),
    "control": Arm("No new data", "as many training steps on the warm-up demonstrations alone", data="none", weights=_UNWEIGHTED),
    "arm-only": Arm("Arm-only takeover", "the human takes the arm, the policy keeps the hand", data="own", operator={"limbs": "arm"}),
    "hand-only": Arm("Hand-only takeover", "the human takes the hand, the policy keeps the arm", data="own", operator={"limbs": "hand"}),
    "no-filter": Arm(
        "No filter", "everything of every trial is trained on, failures too",
        filters=FilterConfig(last_intervention=False, drop_failures=False),
    ),
    "trimmed": Arm(
        "Trimmed corrections", "the part of a correction in which a closed hand is opened again is not trained on",
        filters=replace(CORRECTIONS, trim_reopening=True),
    ),
    "rollouts": Arm("With rollouts", "successful trials without intervention are trained on too", filters=FilterConfig()),
    "loss": Arm(
        "Loss weights", "eq. 7 and 10 to the letter: weights in the loss instead of stratified batches", weights=WeightConfig(mode="loss")
    ),
    "p25": Arm("P* = 0.25", "half the share of corrections", weights=WeightConfig(target=0.25)),
    "p75": Arm("P* = 0.75", "half as much again of corrections", weights=WeightConfig(target=0.75)),
    "sirius": Arm(
        "Sirius weights", "demonstrations keep their share, rollouts give way; half are corrections (Liu et al. 2023)",
        weights=WeightConfig(scheme="sirius"), filters=FilterConfig(),
    ),
    "iwr": Arm(
        "IWR", "intervention-weighted regression: corrections and the rest half and half, nothing filtered (Mandlekar et al. 2020)",
        weights=WeightConfig(scheme="iwr"), filters=FilterConfig(last_intervention=False),
    ),
    "hg-dagger": Arm(
        "HG-DAgger", "human frames only, unweighted: no frame that the policy drove (Kelly et al. 2019)",
        weights=_UNWEIGHTED, filters=FilterConfig(last_intervention=False, intervention_free="drop", policy_frames="drop"),
    ),
    "dagger-own": Arm("DAgger*, own data", "no weighting, and corrections of its own policy", data="own", weights=_UNWEIGHTED),
    "direct": Arm(
        "Direct takeover", "absolute instead of anchored takeover: the command jumps to the person's pose",
        data="own", operator={"mapping": "direct"},
    ),
}  # fmt: skip
"""Arms by name, in the order of display. A method of your own is one more entry: ``ARMS["mine"] = Arm(...)``."""
DEFAULT_ARMS: Final = tuple(name for name in ARMS if name not in ("sirius", "on-site", "trimmed"))
"""Sirius is left out: it is defined only where demonstrations are less than half of the data, which 30 of them here are not. ``on-site``
is for studies whose demonstrations come from elsewhere; where they do not, it is the Baseline. ``trimmed`` came after the first study."""
