"""The control line without a robot: messages arrive bit for bit, errors keep their kind, and nothing that comes in can hurt."""

import os
import pickle
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Client

import numpy as np
import pytest

from dexhil_env.errors import ConfigError, DeviceError, DeviceTimeout, SimulationError
from real.emulator.control_line import ControlLine
from real.emulator.control_messages import decode, encode, pack_error, unpack_error
from real.emulator.control_server import ControlServer


class Robot:
    """A server whose work is done by a thread, as the robot's loop does it."""

    def __init__(self, path, **handlers):
        self.server = ControlServer(path, handlers)
        self.working, self.ending = True, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending:
            if self.working:
                self.server.work()
            time.sleep(0.001)

    def close(self):
        self.ending = True
        self.thread.join()
        self.server.close()


def fail(kind):
    raise {"config": ConfigError, "physics": SimulationError, "bug": ZeroDivisionError}[kind](f"about {kind}")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "control")


@pytest.fixture
def robot(path):
    robot = Robot(path, freeze=lambda seconds: None, lay=lambda rng_state, options: {"rng_state": rng_state}, user_stop=fail, status=dict)
    yield robot
    robot.close()


@pytest.fixture
def line(robot, path):
    with ControlLine(path, timeout_s=5.0) as line:
        yield line


def test_arrays_and_generator_states_arrive_bit_for_bit():
    rng = np.random.default_rng(3)
    message = {
        "state": rng.bit_generator.state,
        "array": rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-300, 300, (3, 4)),
        "odd": np.array([np.nan, np.inf, -0.0, 5e-324]),
        "number": np.float64(0.1),
        "bool": np.bool_(True),
        "empty": np.zeros((0, 3)),
    }
    back = decode(encode(message))
    assert back["state"] == message["state"]
    for name in ("array", "odd", "empty"):
        assert back[name].tobytes() == message[name].tobytes()
        assert back[name].shape == message[name].shape
        assert back[name].flags.writeable
    assert back["number"] == 0.1
    assert back["bool"] is True
    twister = np.random.Generator(np.random.MT19937(1)).bit_generator.state
    np.testing.assert_array_equal(decode(encode(twister))["state"]["key"], twister["state"]["key"])


def test_what_is_no_message():
    with pytest.raises(DeviceError, match="version"):
        decode(b"\x80\x05not json")
    with pytest.raises(DeviceError, match="object"):
        decode(b"[1]")
    with pytest.raises(TypeError, match="object"):
        encode({"x": object()})


@pytest.mark.parametrize("error", [ConfigError("a"), DeviceTimeout("b"), SimulationError("c")])
def test_errors_keep_kind_and_text(error):
    back = unpack_error(pack_error(error))
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_an_error_of_unknown_kind_is_a_device_error_and_names_no_class():
    assert type(unpack_error(pack_error(ValueError("x")))) is DeviceError
    assert type(unpack_error({"error": "__builtins__", "text": "x"})) is DeviceError


def test_answers_and_errors_come_back_to_the_caller(robot, line):
    state = np.random.default_rng(0).bit_generator.state
    assert line.lay(state) == state
    line.freeze(1.0)
    for kind, error in (("config", ConfigError), ("physics", SimulationError), ("bug", DeviceError)):
        with pytest.raises(error, match=f"about {kind}"):
            line._ask("user_stop", kind=kind)
    with pytest.raises(ConfigError, match="lay"):
        line._ask("explode")
    with pytest.raises(DeviceError, match=r"TypeError.*wrong"):
        line._ask("freeze", wrong=1)
    line.freeze(1.0)  # alive after all of that


def test_many_callers_get_their_own_answers(robot, path, line):
    def call(seed):
        with ControlLine(path) as own:
            for _ in range(20):
                state = np.random.default_rng(seed).bit_generator.state
                assert line.lay(state) == state  # one line, shared
                assert own.lay(state) == state
            done.append(seed)

    done = []
    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == [0, 1, 2, 3]


def test_garbage_and_pickles_are_refused(robot, path, line):
    class Bomb:
        def __reduce__(self):
            return os.system, ("echo exploded >&2; touch " + path + ".exploded",)

    for data in (b"", b"\xff" * 100, pickle.dumps(Bomb()), b'{"verb": []}', b'{"verb": "lay", "arguments": 3}'):
        with Client(path, "AF_UNIX") as raw:
            raw.send_bytes(data)
            assert raw.poll(5)
            assert "error" in decode(raw.recv_bytes())
    with Client(path, "AF_UNIX") as raw:
        raw.send({"verb": "freeze", "arguments": {"seconds": Bomb()}})
        assert raw.poll(5)
        raw.recv_bytes()
    assert not os.path.exists(path + ".exploded")
    line.freeze(0.0)


def test_a_silent_robot_times_out_and_a_dead_one_is_noticed(robot, path):
    robot.working = False
    line = ControlLine(path, timeout_s=0.1)
    with pytest.raises(DeviceTimeout, match=r"'freeze' within 0\.1 s"):
        line.freeze(1.0)
    with pytest.raises(DeviceError, match="closed"):
        line.freeze(1.0)
    line.close()
    line.close()


def test_nobody_there(path):
    with pytest.raises(DeviceError, match="dexhil real emulate"):
        ControlLine(path)


def test_only_this_user_may_enter(robot, path):
    assert os.stat(path).st_mode & 0o077 == 0


def test_a_path_in_use_is_refused_and_the_first_lives_on(robot, path, line):
    with pytest.raises(DeviceError, match="another"):
        ControlServer(path, {})
    line.freeze(0.0)


def test_the_socket_of_a_killed_robot_is_taken_over(path):
    script = f"import os, signal; from real.emulator.control_server import ControlServer as C; C({path!r}, {{}}); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert os.path.exists(path), "it is still there"
    robot = Robot(path, freeze=lambda seconds: None)
    with ControlLine(path) as line:
        line.freeze(0.0)
    robot.close()
    assert not os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(path):
    with open(path, "w") as file:
        file.write("mine")
    with pytest.raises(DeviceError, match="another"):
        ControlServer(path, {})
    assert os.path.exists(path)
