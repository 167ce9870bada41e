"""The state that the emulated arm sends every millisecond."""

from typing import Final, Protocol

import numpy as np

from dexhil_env.types import F64
from real.emulator import fci_wire as wire
from real.emulator.arm_body import ArmReading
from real.emulator.fci_wire import Command

_FRAMES: Final = {Command.SET_EE_TO_K: "EE_T_K", Command.SET_NE_TO_EE: "NE_T_EE"}


class Shown(Protocol):
    """What a state shows of the control box."""

    time_ms: int
    mode: wire.RobotMode
    controller: wire.Controller
    generator: wire.Generator
    errors: set[int]
    q_d: F64
    tau_d: F64
    torque_limit: F64
    force_limit: F64

    @property
    def success_rate(self) -> float:
        """Share of packets in time."""
        ...

    @property
    def dq_d(self) -> F64:
        """(7,) [rad/s]."""
        ...

    @property
    def ddq_d(self) -> F64:
        """(7,) [rad/s^2]."""
        ...


class StateFrame:
    """One state in memory, filled anew every cycle."""

    def __init__(self) -> None:
        self._state = wire.new_state()
        names = wire.STATE.names or ()
        self._field = {name: self._state[name][0] for name in names if self._state[name].ndim > 1}

    def set(self, command: int, payload: bytes) -> None:
        """Show a parameter that the client has set."""
        field = self._field
        if command == Command.SET_LOAD:
            values = wire.doubles(payload)
            self._state["m_load"], field["F_x_Cload"][:], field["I_load"][:] = values[0], values[1:4], values[4:13]
        elif command in _FRAMES:
            field[_FRAMES[Command(command)]][:] = wire.doubles(payload)[:16]
            # poses stand column by column, so reshaped they are transposed and multiply in reverse
            field["F_T_EE"][:] = (field["NE_T_EE"].reshape(4, 4) @ field["F_T_NE"].reshape(4, 4)).ravel()

    def pack(self, box: Shown, reading: ArmReading) -> bytes:
        """Return the state as it goes over the wire."""
        state, field = self._state, self._field
        state["message_id"], state["robot_mode"], state["controller_mode"] = box.time_ms, box.mode, box.controller
        state["motion_generator_mode"] = box.generator + 1 if box.mode == wire.RobotMode.MOVE else 0
        state["control_command_success_rate"] = box.success_rate
        field["errors"][:] = 0
        field["errors"][list(box.errors)] = 1
        field["reflex_reason"][:] = field["errors"]
        field["q"][:] = field["theta"][:] = reading.q
        field["dq"][:] = field["dtheta"][:] = reading.dq
        field["q_d"][:], field["dq_d"][:], field["ddq_d"][:] = box.q_d, box.dq_d, box.ddq_d
        field["tau_J"][:], field["tau_J_d"][:] = reading.tau, box.tau_d
        field["elbow"][:] = field["elbow_d"][:] = field["elbow_c"][:] = (reading.q[2], np.sign(reading.q[3]))
        self._pack_contact(box, reading)
        pose = (field["F_T_EE"].reshape(4, 4) @ reading.flange.T).ravel()
        field["O_T_EE"][:] = field["O_T_EE_d"][:] = field["O_T_EE_c"][:] = pose
        return state.tobytes()

    def _pack_contact(self, box: Shown, reading: ArmReading) -> None:
        field, wrench, to_flange = self._field, reading.wrench, reading.flange[:3, :3].T
        field["tau_ext_hat_filtered"][:], field["O_F_ext_hat_K"][:] = reading.tau_ext, wrench
        field["K_F_ext_hat_K"][:3], field["K_F_ext_hat_K"][3:] = to_flange @ wrench[:3], to_flange @ wrench[3:]
        field["joint_collision"][:] = field["joint_contact"][:] = np.abs(reading.tau_ext) > box.torque_limit
        field["cartesian_collision"][:] = field["cartesian_contact"][:] = np.abs(wrench) > box.force_limit
