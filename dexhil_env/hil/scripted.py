"""The simulated human: watches the policy, takes arm and hand over when a failure is impending, corrects, and finishes or hands back.

It sees the privileged state of the twin, as a person sees the scene; it never sees the policy's weights, and the policy never sees what
it sees. Its commands take the same way as a real person's: a cube pose at 30 Hz through eq. 3 and inverse kinematics, glove angles at
90 Hz through the anchored hand map.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import ConfigError
from dexhil_env.hil.expert import Expert, Goal
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.mapping import ArmMap, Mapping, check_mapping, make_arm_map
from dexhil_env.hil.motion import HumanMotion, MotionConfig
from dexhil_env.hil.risk import RiskMonitor, make_risk_monitor
from dexhil_env.hil.sim_experts import make_expert, sim_backend
from dexhil_env.hil.teleop import Teleop
from dexhil_env.transforms import from_parts, from_rotvec
from dexhil_env.types import ARM, F64, HAND, Command, Verdict

Limbs = Literal["both", "arm", "hand"]
EYE_GAIN = 0.05
"""Share of the visible finger error that a person takes back within 1/90 s; slow enough to be stable with the robot's delay."""


@dataclass(frozen=True)
class ScriptedConfig:
    """Habits of the simulated human.

    Attributes:
        limbs: what it takes over.
        reaction_s: time from the moment a failure is in sight to the key press [s]; people need about 0.25 s.
        reaction_sd_s: its standard deviation [s].
        handback: ``"never"`` finishes the task itself (the paper's habit: an intervention ends with the task); ``"when_safe"``
            gives back once the risk is gone for ``safe_s``.
        safe_s: time without risk before a hand-back [s].
        max_interventions: takeovers per episode.
        give_up_s: after driving this long in one takeover a person gives the trial up as failed [s]; 0 never gives up.
        hand_mismatch_rad: standard deviation of the difference between the person's fingers and the robot's at the press [rad].
        motion: speed limits and tremor.
        mapping: how a takeover is mapped: ``"anchor"``, or for comparison ``"direct"`` or ``"blend"`` (dexhil_env.hil.mapping).
        pose_mismatch_m: standard deviation, per axis, of the difference between the person's palm and the robot's at the press [m].
            It matters where the mapping is absolute; 5 cm is an assumption: a person who watches holds the own hand near, not on, the
            robot's.
        pose_mismatch_rad: the same of the orientation, per axis [rad]; an assumption too.
    """

    limbs: Limbs = "both"
    reaction_s: float = 0.25
    reaction_sd_s: float = 0.05
    handback: Literal["never", "when_safe"] = "never"
    safe_s: float = 1.0
    max_interventions: int = 5
    give_up_s: float = 6.0
    hand_mismatch_rad: float = 0.1
    motion: MotionConfig = field(default_factory=MotionConfig)
    mapping: Mapping = "anchor"
    pose_mismatch_m: float = 0.05
    pose_mismatch_rad: float = 0.2

    def __post_init__(self) -> None:
        """Refuse impossible habits."""
        if self.limbs not in ("both", "arm", "hand"):
            raise ConfigError(f"limbs must be 'both', 'arm' or 'hand'; got {self.limbs!r}")
        if self.handback not in ("never", "when_safe"):
            raise ConfigError(f"handback must be 'never' or 'when_safe'; got {self.handback!r}")
        check_mapping(self.mapping)
        mismatches = (self.hand_mismatch_rad, self.pose_mismatch_m, self.pose_mismatch_rad)
        if min(self.reaction_s, self.reaction_sd_s, self.safe_s, self.give_up_s, *mismatches) < 0 or self.max_interventions < 0:
            raise ConfigError(f"times, counts and deviations must not be negative; got {self}")


class _SimulatedPerson:
    """Holds a cube and wears a glove: moves them so that the robot does what the expert plans."""

    def __init__(self, expert: Expert, config: ScriptedConfig, arm_map: ArmMap) -> None:
        self._expert, self._config, self._arm_map = expert, config, arm_map
        self._motion = HumanMotion(config.motion, robot.HAND_COMMAND_PERIOD_S)
        self.motors: Callable[[], F64] = lambda: np.zeros(12)
        self.palm: Callable[[], F64] = lambda: np.eye(4)

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._expert.reset(rng)

    def begin(self, t_s: float, T_base_ee: F64, hand: F64) -> None:
        self._clock = t_s
        self._goal_due = t_s
        if self._config.mapping != "anchor":
            self._begin_where_the_person_is(T_base_ee, hand)
            return
        self._motion.reset(T_base_ee, hand, self._rng)
        self._shown, self._wish = T_base_ee.copy(), hand.copy()
        self._fingers = self._own_fingers(hand)
        # wherever the person happens to hold the cube at the press: eq. 3 makes it irrelevant
        cube = from_parts(from_rotvec(self._rng.normal(0.0, 0.5, 3)), self._rng.uniform(-0.3, 0.3, 3))
        self._arm_map.anchor(T_base_ee, cube)

    def _begin_where_the_person_is(self, T_base_ee: F64, hand: F64) -> None:
        """Start from the person's own pose, which an absolute map passes on as it is."""
        config, rng = self._config, self._rng
        self._fingers = self._own_fingers(hand)
        turn = from_rotvec(rng.normal(0.0, config.pose_mismatch_rad, 3))
        palm = from_parts(turn @ T_base_ee[:3, :3], T_base_ee[:3, 3] + rng.normal(0.0, config.pose_mismatch_m, 3))
        self._shown, self._wish = palm, self._fingers.copy()
        self._motion.reset(palm, self._wish, rng)

    def _own_fingers(self, hand: F64) -> F64:
        return np.clip(hand + self._rng.normal(0.0, self._config.hand_mismatch_rad, 12), robot.HAND_LOW, robot.HAND_HIGH)

    def _live_until(self, t_s: float) -> None:
        while self._clock < t_s - 1e-9:
            if self._clock >= self._goal_due - 1e-9:
                self._goal: Goal = self._expert.goal(self.palm(), self.motors(), self._clock)
                self._goal_due += robot.CONTROL_PERIOD_S
            self._shown, wish = self._motion.step(self._goal)
            self._move_fingers(wish)
            self._clock += self._motion.dt

    def _move_fingers(self, wish: F64) -> None:
        """Move the own fingers as the robot's should, and correct by eye what the robot's still lack."""
        seen = np.clip(wish - self.motors(), -0.3, 0.3)
        self._fingers = np.clip(self._fingers + (wish - self._wish) + EYE_GAIN * seen, robot.HAND_LOW - 0.1, robot.HAND_HIGH + 0.1)
        self._wish = wish

    def cube(self, t_s: float) -> F64:
        self._live_until(t_s)
        return self._arm_map.cube_pose(self._shown)

    def glove(self, t_s: float) -> F64:
        self._live_until(t_s)
        return self._fingers


class ScriptedOperator:
    """A simulated human as an :class:`dexhil_env.hil.operator.Operator`.

    Args:
        config: its habits.
        risk: replaces the task's own rule of when a failure is impending.
        expert: makes the plan that the person carries out; by default the task's scripted expert.
    """

    def __init__(
        self, config: ScriptedConfig | None = None, risk: RiskMonitor | None = None, expert: Callable[[DexHiLEnv], Expert] = make_expert
    ) -> None:
        self.config = config or ScriptedConfig()
        self._custom_risk, self._make_expert = risk, expert
        self._env: DexHiLEnv | None = None

    def reset(self, env: DexHiLEnv, rng: np.random.Generator) -> None:
        """Sit down before a new episode."""
        if env is not self._env:
            self._env = env
            arm_map = make_arm_map(self.config.mapping)
            self._person = _SimulatedPerson(self._make_expert(env), self.config, arm_map)
            ik = ArmIK(sim_backend(env).model)
            self._teleop = Teleop(ik, self._person, arm_map, mapping=self.config.mapping)
            self._risk = self._custom_risk or make_risk_monitor(env)
        self._person.reset(rng)
        self._teleop.reset()
        self._risk.reset()
        self._rng = rng
        self._alarm_at: float | None = None
        self._safe_since: float | None = None
        self._now = self._since = 0.0
        self._takeovers: list[dict[str, object]] = []
        self._first_alarm: str | None = None
        self._commanded = env.servo.commanded.copy()
        self._person.motors = lambda: self._commanded[HAND]
        self._person.palm = lambda: self._teleop.ik.forward(self._commanded[ARM])

    @property
    def engaged(self) -> bool:
        """Whether the person drives a limb."""
        return self._teleop.want_arm or self._teleop.want_hand

    def watch(self, t_s: float, commanded: F64) -> None:
        """Judge the scene; press or release the key."""
        self._commanded, self._now = commanded, t_s
        T_base_ee = self._teleop.ik.forward(commanded[ARM])
        reason = self._risk.look(T_base_ee, commanded[HAND], t_s)
        if self.engaged:
            self._maybe_hand_back(t_s, reason)
        elif reason is None:
            self._alarm_at = None
        else:
            self._first_alarm = self._first_alarm or reason
            if len(self._takeovers) < self.config.max_interventions:
                self._maybe_take_over(t_s, reason)

    def _maybe_take_over(self, t_s: float, reason: str) -> None:
        if self._alarm_at is None:
            self._alarm_at = t_s + max(0.0, self._rng.normal(self.config.reaction_s, self.config.reaction_sd_s))
        if t_s >= self._alarm_at - 1e-9:
            self._teleop.engage(arm=self.config.limbs != "hand", hand=self.config.limbs != "arm")
            self._takeovers.append({"t_s": t_s, "reason": reason})
            self._since = t_s
            self._alarm_at, self._safe_since = None, t_s

    def _maybe_hand_back(self, t_s: float, reason: str | None) -> None:
        if reason is not None or self._safe_since is None:
            self._safe_since = t_s
        if self.config.handback == "when_safe" and t_s - self._safe_since >= self.config.safe_s:
            self._teleop.engage(arm=False, hand=False)
            self._risk.reset()

    def poll(self, t_s: float, commanded: F64) -> Command:
        """Return the commands of this servo tick."""
        self._commanded = commanded
        return self._teleop.poll(t_s, commanded)

    def verdict(self) -> Verdict:
        """The twin's own judgement stands, unless the person has had enough."""
        config = self.config
        if not (config.give_up_s > 0 and self.engaged and self._takeovers) or self._env is None or self._env.evaluation.success:
            return Verdict.NONE
        return Verdict.FAILURE if self._now - self._since >= config.give_up_s else Verdict.NONE

    def facts(self) -> dict[str, object]:
        """Return takeovers with their reasons, and the first alarm (also when it came to no takeover)."""
        return {"operator": "scripted", "takeovers": list(self._takeovers), "first_alarm": self._first_alarm}
