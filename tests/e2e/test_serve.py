"""The policy server and its client: the wire, the translation, batching, and clients that misbehave."""

import contextlib
import struct
import threading
import time
import urllib.request

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from agents.data import ChunkDataset
from agents.policy import VLAPolicy
from agents.serve.keymap import KeyMap, read_key_map
from agents.serve.remote import RemotePolicy
from agents.serve.server import PolicyServer, ServeConfig
from agents.serve.vla import ServedVLA
from agents.serve.wire import MAX_BYTES, pack, unpack
from agents.vla.config import preset
from dexhil_env import robot
from dexhil_env.errors import ConfigError, RemoteError
from tests.unit.agents_fixture import demos


def observation(seed: int = 0, size: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pictures = {f"image_{name}": rng.integers(0, 255, (size, size, 3), dtype=np.uint8) for name in ("front", "wrist")}
    floats = {"hand_motor_pos": 12, "fingertip_force": 5, "ee_pose": 7, "arm_joint_vel": 7}
    state = {name: rng.uniform(0, 0.3, width).astype(np.float32) for name, width in floats.items()}
    return {**pictures, **state, "arm_joint_pos": robot.ARM_HOME.astype(np.float32)}


@pytest.fixture(scope="module")
def policy() -> VLAPolicy:
    torch.manual_seed(0)
    dataset = ChunkDataset(demos(), preset("debug"))
    return VLAPolicy(preset("debug"), dataset.statistics()).eval()


@pytest.fixture(scope="module")
def server(policy: VLAPolicy):
    with PolicyServer(ServedVLA(policy), ServeConfig(port=0, window_ms=60.0)) as running:
        yield running


def address(server: PolicyServer) -> str:
    return f"ws://127.0.0.1:{server.port}"


# The wire


def test_arrays_look_as_openpi_writes_them() -> None:
    raw = msgpack.unpackb(pack({"a": np.arange(3, dtype=np.float32), "b": np.float32(2.5)}))
    assert raw["a"] == {b"__ndarray__": True, b"data": struct.pack("<3f", 0, 1, 2), b"dtype": "<f4", b"shape": [3]}
    assert raw["b"] == {b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f4"}


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(-999, 999) | st.text(max_size=5) | st.booleans(), max_size=3),
    st.sampled_from(["<f4", "<f8", "|u1", "<i8", "|b1"]),
    st.lists(st.integers(0, 4), max_size=3),
)
def test_what_is_packed_is_unpacked(plain: dict, dtype: str, shape: list[int]) -> None:
    array = np.ones(shape, np.dtype(dtype))
    found = unpack(pack({**plain, "array": array}))
    np.testing.assert_array_equal(found.pop("array"), array)
    plain.pop("array", None)
    assert found == plain


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(RemoteError):
        assert isinstance(unpack(data), dict)


@pytest.mark.parametrize(
    "array",
    [
        {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "|O8", b"shape": [1]},
        {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2**40]},
        {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [-2]},
        {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [3]},
        {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "f4,f4", b"shape": [1]},
        {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": None, b"shape": [1]},
        {b"__npgeneric__": True, b"data": [1], b"dtype": "<f4"},
    ],
    ids=["object", "huge", "negative", "short", "structured", "no type", "list as scalar"],
)
def test_arrays_that_lie_are_refused(array: dict) -> None:
    with pytest.raises(RemoteError):
        unpack(msgpack.packb({"a": array}))


def test_too_long_too_deep_and_unknown_things_are_refused() -> None:
    with pytest.raises(RemoteError, match="longer than"):
        unpack(bytes(MAX_BYTES + 1))
    deep: dict = {}
    for _ in range(9):
        deep = {"a": deep}
    with pytest.raises(RemoteError, match="nested"):
        unpack(msgpack.packb(deep))
    with pytest.raises(RemoteError, match="cannot be sent"):
        pack({"a": object()})
    with pytest.raises(RemoteError, match="a message is a map"):
        unpack(msgpack.packb([1]))


# Their names and ours


def test_a_key_map_sends_their_names_and_reads_their_columns(tmp_path) -> None:
    path = tmp_path / "droid.json"
    path.write_text(
        '{"uri": "ws://h:1", "send": {"observation/image": "image_front", "observation/state": ["arm_joint_pos", "hand_motor_pos"],'
        f' "prompt": "prompt"}}, "image_size": 24, "fixed": {{"mode": 1}}, "columns": {list(range(18, -1, -1))}, "kind": "joint_deltas"}}'
    )
    key_map, settings_ = read_key_map(path)
    assert settings_ == {"uri": "ws://h:1"}
    seen = observation()
    sent = key_map.request(seen, "pick it up")
    assert sent["observation/image"].shape == (24, 24, 3)
    np.testing.assert_array_equal(sent["observation/state"], np.concatenate([seen["arm_joint_pos"], seen["hand_motor_pos"]]))
    assert (sent["prompt"], sent["mode"]) == ("pick it up", 1)
    deltas = np.linspace(-0.1, 0.1, 2 * 19, dtype=np.float32).reshape(2, 19)
    wanted = np.clip(sent["observation/state"] + deltas[:, ::-1], robot.LOW, robot.HIGH)
    np.testing.assert_allclose(key_map.chunk({"actions": deltas}, seen), wanted, atol=1e-6)


def test_a_joint_without_a_column_stays_where_it_is() -> None:
    columns = (*range(7), *([-1] * 12))
    chunk = KeyMap(columns=columns).chunk({"actions": np.tile(robot.ARM_HOME, (4, 1))}, observation())
    np.testing.assert_allclose(chunk[:, 7:], np.tile(observation()["hand_motor_pos"], (4, 1)))


@pytest.mark.parametrize(
    "answer", [{}, {"actions": np.zeros(19)}, {"actions": np.zeros((4, 7))}, {"actions": np.full((4, 19), np.nan)}],
    ids=["none", "flat", "narrow", "nan"],
)  # fmt: skip
def test_answers_that_cannot_be_executed_are_refused(answer: dict) -> None:
    with pytest.raises(RemoteError):
        KeyMap().chunk(answer, observation())


def test_a_key_map_that_sends_what_is_not_observed_is_refused() -> None:
    with pytest.raises(ConfigError, match="image_side"):
        KeyMap(send={"x": "image_side"}).request(observation(), "")


# Server and client


def test_the_served_policy_is_the_policy(server: PolicyServer, policy: VLAPolicy) -> None:
    remote = RemotePolicy(address(server))
    for seed in (3, 4, 3):
        remote.reset(seed)
        policy.reset(seed)
        for step in range(2 * 8 + 1):
            seen = observation(step)
            np.testing.assert_allclose(remote.act(seen, "go"), policy.act(seen, "go"), atol=1e-5)
    remote.close()


def test_clients_that_ask_together_share_a_forward_pass_and_nothing_else(server: PolicyServer, policy: VLAPolicy) -> None:
    before = server.batcher.counts.requests, server.batcher.counts.batches
    clients = [RemotePolicy(address(server)) for _ in range(8)]
    gate, found = threading.Barrier(8), {}

    def ask(index: int) -> None:
        clients[index].reset(100 + index)
        gate.wait()
        found[index] = clients[index].infer(observation(index, size=32 + 4 * index), "go")

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, client in enumerate(clients):
        policy.reset(100 + index)
        alone = policy.infer({**observation(index, size=32 + 4 * index), "prompt": "go"})["actions"]
        np.testing.assert_allclose(found[index], alone, atol=1e-5)
        client.close()
    requests, batches = server.batcher.counts.requests - before[0], server.batcher.counts.batches - before[1]
    assert requests == 8
    assert batches <= 2


def test_a_client_that_lies_is_told_why_and_harms_nobody(server: PolicyServer) -> None:
    honest = RemotePolicy(address(server))
    lies = {
        "'arm_joint_pos' must be": {**observation(), "arm_joint_pos": np.zeros(3, np.float32)},
        "finite": {**observation(), "ee_pose": np.full(7, np.nan, np.float32)},
        "'image_front' must be": {**observation(), "image_front": np.zeros((4, 4), np.uint8)},
        "'image_wrist' must be": {name: value for name, value in observation().items() if name != "image_wrist"},
    }
    for text, lie in lies.items():
        liar = RemotePolicy(address(server))
        with pytest.raises(RemoteError, match=text):
            liar.infer(lie, "go")
        with pytest.raises(RemoteError, match="closed the connection"):
            liar.infer(observation(), "go")
    with connect(address(server), compression=None) as raw:
        raw.recv()
        raw.send("text")
        assert "binary message" in raw.recv(5.0)
    with connect(address(server), compression=None) as raw:
        raw.recv()
        raw.send(b"\xc1" * 50)
        assert "msgpack" in raw.recv(5.0)
    with connect(address(server), compression=None, max_size=None) as raw:
        raw.recv()
        with contextlib.suppress(ConnectionClosed):  # the line may be cut while this is still being sent
            raw.send(bytes(MAX_BYTES + 10))
        with pytest.raises(ConnectionClosed):
            raw.recv(10.0)
    assert honest.infer(observation(), "go").shape == (16, 19)
    honest.close()


def test_a_client_that_dies_while_it_waits_harms_nobody(server: PolicyServer) -> None:
    for _ in range(5):
        with connect(address(server), compression=None) as raw:
            raw.recv()
            raw.send(pack({**observation(), "prompt": "go"}))
            raw.socket.close()
    alive = RemotePolicy(address(server))
    assert alive.infer(observation(), "go").shape == (16, 19)
    alive.close()


def test_health_is_told_and_web_pages_are_refused(server: PolicyServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=5) as answer:
        assert answer.read() == b"OK\n"
    with pytest.raises(InvalidStatus), connect(address(server), origin="http://evil.example"):  # type: ignore[arg-type]
        pass


def test_without_the_token_nothing_is_served(policy: VLAPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    with PolicyServer(ServedVLA(policy), ServeConfig(port=0, token="secret", max_clients=1)) as guarded:
        with pytest.raises(RemoteError, match="wrong token"):
            RemotePolicy(address(guarded))
        monkeypatch.setenv("DEXHIL_TOKEN", "secret")
        first = RemotePolicy(address(guarded))
        with pytest.raises(RemoteError, match="1 clients are connected already"):
            RemotePolicy(address(guarded))
        first.close()
        deadline = time.monotonic() + 5.0
        while True:
            try:
                RemotePolicy(address(guarded)).close()
                break
            except RemoteError:
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_the_network_is_let_in_with_a_token_only() -> None:
    with pytest.raises(ConfigError, match="token"):
        ServeConfig(host="0.0.0.0")
    assert ServeConfig(host="0.0.0.0", token="x").host == "0.0.0.0"


def test_nobody_there_is_said_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(RemoteError, match="dexhil serve"):
        RemotePolicy("ws://127.0.0.1:9")
    assert time.monotonic() - begun < 3.0


def test_a_taken_port_is_said(server: PolicyServer, policy: VLAPolicy) -> None:
    with pytest.raises(ConfigError, match="another --port"):
        PolicyServer(ServedVLA(policy), ServeConfig(port=server.port)).start()


def test_a_server_that_breaks_says_so_and_goes_on() -> None:
    class Broken:
        metadata: dict = {}

        def client(self) -> None: ...

        def check(self, observation: dict, state: object) -> None: ...

        def infer(self, requests: list) -> list:
            raise ValueError("no such layer")

    with PolicyServer(Broken(), ServeConfig(port=0)) as broken:
        for _ in range(2):
            with pytest.raises(RemoteError, match="no such layer"):
                RemotePolicy(address(broken)).infer(observation(), "go")
