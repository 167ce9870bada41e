"""What a run costs a person."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dexhil_env.episode import Episode


@dataclass(frozen=True)
class RoundEffort:
    """Human effort of one round.

    Attributes:
        round: DAgger round, 0 = demonstrations.
        episodes: recorded attempts.
        corrected: attempts with at least one takeover.
        takeovers: number of takeovers.
        demonstration_s: time spent demonstrating [s].
        intervention_s: time spent driving during interventions [s].
        watching_s: time spent watching the policy [s].
    """

    round: int
    episodes: int
    corrected: int
    takeovers: int
    demonstration_s: float
    intervention_s: float
    watching_s: float


def effort_by_round(episodes: Sequence[Episode]) -> list[RoundEffort]:
    """Add up the effort per round; an episode of round 0 is a demonstration from start to end."""
    result: list[RoundEffort] = []
    for number in sorted({episode.round for episode in episodes}):
        mine = [episode for episode in episodes if episode.round == number]
        total = sum(len(episode) / episode.fps for episode in mine)
        human = sum(float(np.count_nonzero(episode.intervention)) / episode.fps for episode in mine)
        result.append(
            RoundEffort(
                round=number,
                episodes=len(mine),
                corrected=sum(bool(episode.intervention.any()) for episode in mine) if number else 0,
                takeovers=sum(int(episode.intervention_id.max()) for episode in mine) if number else 0,
                demonstration_s=0.0 if number else total,
                intervention_s=human if number else 0.0,
                watching_s=total - human if number else 0.0,
            )
        )
    return result
