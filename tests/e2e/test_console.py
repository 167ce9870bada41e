"""The console's server: who may connect, what is refused, and that the robot's loop never notices."""

import json
import struct
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("websockets", reason="the console needs the extra dexhil[teleop]")
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from dexhil_env.errors import ConfigError
from dexhil_env.hil.console.server import MAX_FRAME_BYTES, ConsoleServer
from dexhil_env.hil.live.inbox import Inbox

ENGAGE = {"type": "engage", "arm": True, "hand": True}


@pytest.fixture
def console():
    stops = []
    server = ConsoleServer(Inbox(), port=0, on_stop=lambda: stops.append(1))
    server.stops = stops
    yield server
    server.close()


def join(console, token=None, origin=None, path="/ws"):
    return connect(f"ws://127.0.0.1:{console.port}{path}?token={token or console.token}", origin=origin, max_size=None)


def until(condition, seconds=2.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def send_until_closed(socket, text, times, pause_s=0.0):
    try:
        for _ in range(times):
            socket.send(text)
            time.sleep(pause_s)
    except ConnectionClosed:
        return
    raise AssertionError(f"still open after {times} messages")


def kinds(console):
    return [each.message["type"] for each in console.inbox.take()]


def heard(console, *expected):
    found = []
    until(lambda: found.extend(kinds(console)) or set(expected) <= set(found))
    return found


def test_the_page_needs_the_token_and_comes_in_one_piece(console):
    page = urllib.request.urlopen(console.url, timeout=2)
    text = page.read().decode()
    assert "Hold to drive" in text
    assert "/*" + "SCRIPTS*/" not in text
    assert "src=" not in text.replace("video.srcObject", "")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for address in (f"http://127.0.0.1:{console.port}/", f"http://127.0.0.1:{console.port}/?token=wrong"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address, timeout=2)
    assert console.refused == 2


def test_wrong_token_and_foreign_origin_do_not_get_in(console):
    for options in ({"token": "wrong"}, {"origin": "https://evil.example"}, {"origin": f"http://127.0.0.1:{console.port + 1}"}):
        with pytest.raises(InvalidStatus, match="403"):
            join(console, **options)
    assert console.refused == 3
    assert any("foreign origin" in text for text in console.log)
    with join(console, origin=f"http://localhost:{console.port}") as socket:
        socket.send(json.dumps(ENGAGE))
        heard(console, "engage")


def test_malformed_messages_are_refused_and_the_connection_lives(console):
    with join(console) as socket:
        for text in (
            "{",
            "[]",
            "null",
            '{"type":"dance"}',
            '{"type":"engage","arm":1,"hand":true}',
            '{"type":"lost"}',
            "9" * 9000,
            "[" * 5000,
        ):
            socket.send(text)
        socket.send(b"\xff\xd8 no picture is wanted")
        socket.send(json.dumps(ENGAGE))
        assert heard(console, "engage") == ["engage"]
        assert console.refused == 9


def test_an_oversized_message_closes_the_connection_and_holds_the_robot(console):
    with join(console) as socket:
        socket.send(json.dumps(ENGAGE))
        send_until_closed(socket, "x" * (MAX_FRAME_BYTES + 1), 100, pause_s=0.01)
    assert heard(console, "lost") == ["engage", "lost"]
    assert any("message of more than" in text for text in console.log)


def test_a_flood_is_refused_and_shut_out_while_the_loop_goes_on(console):
    with join(console) as socket:
        send_until_closed(socket, '{"type":"heartbeat"}', 100_000)
        assert len(console.inbox.take()) <= 512
    until(lambda: console.controller is None)
    assert console.refused > 1000
    started = time.monotonic()
    for _ in range(200):
        console.publish({"mode": "AUTO"}, [b"x" * 20_000])
    assert time.monotonic() - started < 0.5
    with join(console) as socket:
        socket.send(json.dumps(ENGAGE))
        heard(console, "engage")


def test_one_controls_and_many_watch_and_anybody_may_stop(console):
    with join(console) as first, join(console) as second:
        until(lambda: console.watchers == 1)
        second.send(json.dumps(ENGAGE))
        second.send('{"type":"estop"}')
        assert heard(console, "estop") == ["estop"]
        assert console.stops == [1]
        first.send(json.dumps(ENGAGE))
        heard(console, "engage")
        first.close()
        assert heard(console, "lost") == ["lost"]
        second.send(json.dumps(ENGAGE))
        time.sleep(0.05)
        assert kinds(console) == []  # it has to ask for the controls
        second.send('{"type":"claim"}')
        second.send(json.dumps(ENGAGE))
        heard(console, "engage")


def test_frames_carry_state_and_pictures_and_a_slow_client_misses_some(console):
    with join(console) as socket:
        console.publish({"mode": "AUTO", "t_s": 1.5}, [b"front", b"wrist!"])
        frame = socket.recv(timeout=2)
        (size,) = struct.unpack("<I", frame[:4])
        header = json.loads(frame[4 : 4 + size])
        assert (header["mode"], header["t_s"], header["role"], header["pictures"]) == ("AUTO", 1.5, "controller", [5, 6])
        assert frame[4 + size :] == b"frontwrist!"
        for number in range(400):
            console.publish({"number": number}, [bytes(100_000)])
            time.sleep(0.001)
        seen, last = 0, -1
        while last < 399:
            frame = socket.recv(timeout=2)
            number = json.loads(frame[4 : 4 + struct.unpack("<I", frame[:4])[0]])["number"]
            assert number > last
            seen, last = seen + 1, number
        assert seen < 400


def test_a_port_that_is_taken_is_said(console):
    with pytest.raises(ConfigError, match="choose another --port"):
        ConsoleServer(Inbox(), port=console.port)
