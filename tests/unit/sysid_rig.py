"""A robot without wires, stepped as fast as it goes: drivers' reference and control law in front of the emulated arm's body."""

from collections import deque
from functools import cache

import numpy as np

from dexhil_env import robot
from dexhil_env.limits import Limiter
from real.emulator.arm_body import MujocoArm
from real.emulator.emulator_config import RealityConfig
from real.fr3_reference import Reference
from real.sysid.excitation import arm_plan
from real.sysid.identify import Identification, identify
from real.sysid.log import MotionLog

FRICTION = np.array([1.137] * 4 + [0.763, 0.44, 0.248])
"""Of the model in assets/fr3 [Nm]."""
DAMPING = 0.21
ARM_S = 14.0
NOISE = 2e-5
TRUTH = RealityConfig(arm_friction=1.6, arm_damping=6.0, arm_torque=0.9, arm_latency_s=0.004, encoder_noise=NOISE)
LATENCY_S = 0.02
"""In front of the driver."""
STIFFNESS = np.array([400.0, 400, 400, 400, 100, 80, 30])
READ_MS = 4
"""The driver reads the arm every 4 ms, so that reading and reference (5 ms) are never in step."""
REFERENCE_LAG_S = 0.0055
"""Of the driver's reference behind a steady 200 Hz stream: a geometric filter, one tick with 5 / 10.5 of the way."""


def run_arm(plan, reality=None, latency_s=0.0, stiffness=STIFFNESS, seed=0):
    """Drive the emulated arm through a plan (N, 19); return its log. ``latency_s``: of the program in front of the driver."""
    arm = MujocoArm(reality=reality or RealityConfig(), seed=seed)
    reference = Reference(robot.ARM_LOW, robot.ARM_HIGH, np.full(7, 2.0), np.full(7, 8.0), np.full(7, 0.2))
    reference.reset(plan[0, :7])
    damping, waiting, rows = 2 * np.sqrt(stiffness), deque([plan[0, :7]] * round(latency_s / robot.SERVO_PERIOD_S)), []
    tau, ms = np.zeros(7), 0
    for n, target in enumerate(plan):
        waiting.append(target[:7])
        reference.aim(waiting.popleft(), (n + 1) * 5_000_000)
        q_d, dq_d = reference.tick(robot.SERVO_PERIOD_S, arm.joint_pos)
        for _ in range(5):
            reading = arm.read()
            if ms % READ_MS == 0:
                rows.append((ms * 1e-3, reading.q, reading.dq, tau))
            tau = stiffness * (q_d - reading.q) + damping * (dq_d - reading.dq)
            arm.step(tau, q_d)
            ms += 1
    time_s = np.arange(len(plan)) * robot.SERVO_PERIOD_S
    state_s, q, dq, torque = (np.array(values) for values in zip(*rows, strict=True))
    hand = np.zeros((len(plan), 12))
    return MotionLog(time_s, plan, state_s, q, dq, torque, np.zeros_like(q), hand + time_s[:, None], hand)


def run_hand(plan, lag_s, latency_s, report_s=0.01, noise=0.0):
    """Motors that follow a plan (N, 19) with a delay and a time constant each, and report in steps of 0.01 degree; return the log."""
    time_s = np.arange(len(plan)) * robot.SERVO_PERIOD_S
    limiter, sent = Limiter(), []
    for target in plan:
        sent.append(limiter.step(target))
    sent = np.array(sent)
    fine_s = np.arange(0.0, time_s[-1], 1e-3)
    late = np.column_stack([np.interp(fine_s - latency_s, time_s, column) for column in sent[:, robot.HAND].T])
    angle, angles = late[0].copy(), []
    for row in late:
        angle = angle + (1 - np.exp(-1e-3 / np.asarray(lag_s))) * (row - angle)
        angles.append(angle)
    every = round(report_s / 1e-3)
    reported = np.array(angles)[::every] + np.random.default_rng(0).normal(0, noise, (len(fine_s[::every]), 12))
    reported = np.round(np.degrees(reported), 2) * np.pi / 180
    states = np.tile(robot.ARM_HOME, (len(plan), 1))
    return MotionLog(
        time_s, sent, time_s, states, 0 * states, 0 * states, 0 * states, np.tile(fine_s[::every, None], (1, 12)), reported
    )  # fmt: skip


@cache
def perturbed_log() -> MotionLog:
    """The log of the perturbed arm that several modules look at; none changes it."""
    return run_arm(arm_plan(ARM_S), TRUTH, LATENCY_S)


@cache
def perturbed_found() -> Identification:
    """What is found in it."""
    return identify(perturbed_log())
