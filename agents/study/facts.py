"""What a cell cost a person and how its training went, as small JSON."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from agents.effort import effort_by_round
from dexhil_env.store import EpisodeStore


def collection_facts(store: EpisodeStore, env_id: str, indices: list[int]) -> dict[str, Any]:
    """Count attempts, takeovers and human seconds of some episodes of one environment.

    Returns:
        ``attempts`` in all, of which ``alone`` succeeded without help, ``corrected`` succeeded after a takeover, ``failed`` did not
        succeed although (or because) somebody took over, and the rest failed unaided; ``takeovers`` and their ``reasons``; seconds of
        demonstration, intervention and watching; first seed and number of seeds.
    """
    episodes = [store.read_columns(i) for i in indices]
    facts = [store.facts(i) for i in indices]
    offline = bool(episodes) and episodes[0].round == 0
    helped = [bool(episode.intervention.any()) for episode in episodes]
    spent = effort_by_round(episodes)
    won = [episode.is_success for episode in episodes]
    return {
        "env_id": env_id,
        "attempts": len(episodes),
        "alone": 0 if offline else sum(w and not h for w, h in zip(won, helped, strict=True)),
        "corrected": 0 if offline else sum(w and h for w, h in zip(won, helped, strict=True)),
        "failed": 0 if offline else sum(h and not w for w, h in zip(won, helped, strict=True)),
        "takeovers": sum(effort.takeovers for effort in spent),
        "reasons": dict(Counter(str(takeover["reason"]) for fact in facts for takeover in fact.get("takeovers", ()))),
        "demonstration_s": round(sum(effort.demonstration_s for effort in spent), 2),
        "intervention_s": round(sum(effort.intervention_s for effort in spent), 2),
        "watching_s": round(sum(effort.watching_s for effort in spent), 2),
        "seeds": [int(fact["seed"]) for fact in facts],
    }


def training_facts(folder: Path) -> dict[str, Any]:
    """Return steps, data and losses of a training folder; losses without weights, so that arms can be compared."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [[row["step"], round(row["loss/flow"], 5)] for row in rows]
    return {
        "steps": config["train"]["steps"],
        "seed": config["seed"],
        "anchors": config["classes"],
        "share": config["share"],
        "target": config["target"],
        "losses": losses,
        "first_loss": losses[0][1],
        "last_loss": losses[-1][1],
    }
