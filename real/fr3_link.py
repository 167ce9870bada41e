"""All that DexHiL asks of ``franky``, in one place, with its exceptions made into ours.

franky is imported when a link is opened. Its 1 kHz torque loop runs in a C++ thread that never needs Python.
"""

import json
import threading
from contextlib import suppress
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DeviceError
from dexhil_env.types import F64
from real.fr3_config import FR3Config
from real.fr3_probe import probe
from real.optional import require

MAX_JERK: Final = 5000.0
"""FR3's joint jerk limit [rad/s^3] (libfranka's rate_limiting.h); franky's own default is that of the older arm."""
_NEEDED: Final = 'driving the arm needs franky ({error}); pip install "dexhil[real]" (Linux, x86-64, glibc 2.34)'


class LinkLost(DeviceError):
    """The connection to the arm is gone; only a new one helps."""


class FrankaLink:
    """An open connection to the arm.

    Args:
        config: address, load, thresholds.

    Raises:
        ConfigError: franky is not installed.
        DeviceTimeout: nothing answers at the address.
        DeviceError: what answers refuses, is no FR3, or speaks another version of the protocol.
    """

    def __init__(self, config: FR3Config) -> None:
        self._franky = franky = require("franky", "real", _NEEDED)
        probe(config.address, config.connect_timeout_s)
        self._lock = threading.Lock()
        self._tracker: Any = None
        realtime = franky.RealtimeConfig.Enforce if config.realtime else franky.RealtimeConfig.Ignore
        try:
            self._robot: Any = franky.Robot(config.address, realtime_config=realtime)
            self._limit_planner()
            urdf = str(self._robot.model_urdf)
            idle = self._robot.state.robot_mode == franky.RobotMode.Idle
        except (franky.Exception, RuntimeError) as error:
            raise DeviceError(f"the arm at {config.address} refuses the connection: {error}; is another program using it?") from error
        self.low, self.high = _joint_ranges(urdf)
        if idle:
            self.configure(config)

    def _limit_planner(self) -> None:
        """Give the planner the FR3's limits; franky starts with the older arm's, some above, and accepts none above its own."""
        arm = self._robot
        limits = (
            (arm.joint_velocity_limit, robot.ARM_MAX_VELOCITY),
            (arm.joint_acceleration_limit, robot.ARM_MAX_ACCELERATION),
            (arm.joint_jerk_limit, np.full(7, MAX_JERK)),
        )
        for limit, value in limits:
            limit.set(np.minimum(value, limit.max))

    def configure(self, config: FR3Config) -> None:
        """Tell the arm what it carries, so that it compensates the hand's weight, and when a push ends a motion. Needs mode Idle."""
        inertia = np.diag(config.hand_inertia).ravel().tolist()
        try:
            with self._lock:
                self._robot.set_load(config.hand_mass, list(config.hand_com), inertia)
                self._robot.set_collision_behavior(config.collision_torque, config.collision_force)
        except (self._franky.Exception, RuntimeError) as error:
            raise DeviceError(f"the arm refuses its load or collision thresholds: {error}; is it idle and unlocked?") from error

    @property
    def in_control(self) -> bool:
        """A motion of ours runs."""
        return bool(self._robot.is_in_control)

    def read(self) -> Any:
        """Newest state of the arm. Waits for the network (1 s at most) while no motion runs."""
        with self._lock:  # libfranka refuses to start a motion while another thread reads
            return self._robot.state

    def track(self, stiffness: F64) -> None:
        """Begin to track from where the arm is."""
        try:
            with self._lock:
                self._tracker = self._franky.JointImpedanceTracker(self._robot, stiffness=stiffness)
        except (self._franky.Exception, RuntimeError) as error:
            raise DeviceError(f"the arm does not begin to move: {error}; look at its mode, then call recover()") from error

    def set_target(self, q: F64, dq: F64) -> None:
        """Lead the tracker: position (7,) [rad], velocity (7,) [rad/s]."""
        tracker = self._tracker
        if tracker is not None:  # another thread may have stopped it just now
            tracker.set_target(q, dq)

    def stop(self) -> None:
        """End the motion, gently if it tracks; the arm holds. Raises what ended it, if the arm did."""
        tracker, self._tracker = self._tracker, None
        try:
            if tracker is not None:
                tracker.stop()
            elif self._robot.is_in_control:
                self._robot.stop()
        except (self._franky.Exception, RuntimeError) as error:
            if "preempted!" not in str(error):
                raise DeviceError(f"the arm ended the motion: {error}") from error

    def move(self, q: F64, speed: float) -> None:
        """Start a motion of the arm's own planner to ``q`` (7,) [rad] with this share of its limits; returns at once."""
        motion = self._franky.JointMotion(q, relative_dynamics_factor=speed)
        try:
            with self._lock:
                self._robot.move(motion, asynchronous=True)
        except (self._franky.Exception, RuntimeError) as error:
            raise DeviceError(f"the arm does not begin to move: {error}; look at its mode, then call recover()") from error

    def join(self) -> None:
        """Raise what ended the last motion, if the arm did."""
        try:
            self._robot.join_motion(1.0)
        except (self._franky.Exception, RuntimeError) as error:
            raise DeviceError(f"the arm ended the motion: {error}") from error

    def recover(self) -> None:
        """Clear a reflex; the caller looks at the next state.

        Raises:
            LinkLost: nobody is at the other end any more.
            DeviceError: the arm refuses.
        """
        with suppress(self._franky.Exception, RuntimeError):
            self._robot.join_motion(1.0)  # how the last motion ended is told already; unasked, franky tells it when the next one begins
        try:
            with self._lock:
                self._robot.recover_from_errors()
        except self._franky.NetworkException as error:
            raise LinkLost(f"connection to the arm lost ({error})") from error
        except (self._franky.Exception, RuntimeError) as error:
            raise DeviceError(f"the arm does not recover: {error}; release the user stop, then call recover() again") from error

    def close(self) -> None:
        """Hang up. Nothing else may be called afterwards."""
        self._tracker = self._robot = None


def error_names(errors: Any) -> tuple[str, ...]:
    """Names of franky's error flags."""
    return tuple(json.loads(str(errors)))


def _joint_ranges(urdf: str) -> tuple[F64, F64]:
    """Joint ranges (7,) [rad] that both the arm and :mod:`dexhil_env.robot` allow."""
    joints = [joint for joint in ElementTree.fromstring(urdf).findall("joint") if joint.get("type") == "revolute"]
    limits = [limit for joint in joints if (limit := joint.find("limit")) is not None]
    if len(limits) != len(robot.ARM_JOINTS):
        raise DeviceError(f"the arm describes itself with {len(limits)} joints; an FR3 has {len(robot.ARM_JOINTS)}")
    low = np.array([float(limit.attrib["lower"]) for limit in limits])
    high = np.array([float(limit.attrib["upper"]) for limit in limits])
    return np.maximum(low, robot.ARM_LOW), np.minimum(high, robot.ARM_HIGH)
