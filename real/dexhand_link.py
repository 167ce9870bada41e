"""The CAN bus of the hand: sending, one reading thread, and the moment at which the bus is gone."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dexhil_env.errors import DeviceError
from real.dexhand_config import DexHandConfig
from real.dexhand_monitor import HandMonitor
from real.dexhand_protocol import CanFrame, is_harmless
from real.dexhand_replies import decode
from real.optional import require

if TYPE_CHECKING:
    import can

ERROR_BUS_OFF = 0x40
"""Bit in the identifier of an error frame: the controller left the bus (Linux, ``linux/can/error.h``)."""
SEND_FAILING_S = 0.05
"""The bus is taken as gone when every send fails for this long."""
SEND_TIMEOUT_S = 0.005
BACKLOG = 500
"""Messages after which silence is judged even when more wait: another device may flood the bus."""
READER_TURN_S = 0.02
"""A turn of the reading thread takes 10 ms; when it takes longer than this, the rest is no silence of the boards [s]."""
CHECK_TURN_S = 0.1
"""Whoever watches the reading thread does so at least this often; when not, the rest is no hanging of the reader [s]."""
_LOST = {"bus-gone", "bus-off"}


def open_bus(config: DexHandConfig) -> "can.BusABC":
    """Open the adapter.

    Raises:
        ConfigError: python-can or the adapter's plugin is missing.
        DeviceError: the adapter cannot be opened.
    """
    can = require("can", "real")
    try:
        if config.interface == "dexhil-unix":
            from real.can_bus import UnixBus

            return UnixBus(config.channel, **config.bus_kwargs)
        return can.Bus(interface=config.interface, channel=config.channel, fd=True, ignore_config=True, **config.bus_kwargs)
    except (can.CanError, OSError, NotImplementedError, ValueError, TypeError) as error:
        raise DeviceError(
            f"the CAN adapter {config.interface!r}, channel {config.channel!r}, cannot be opened: {error}; "
            "check that it is plugged in and up (socketcan: ip -details link show), and that its python-can plugin is installed"
        ) from error


class HandLink:
    """The open bus.

    Args:
        config: which bus.
        monitor: what is fed with every reply; it is only touched under ``lock``.

    Attributes:
        lock: guards the monitor.
    """

    def __init__(self, config: DexHandConfig, monitor: HandMonitor) -> None:
        self.config, self.monitor = config, monitor
        self.generation = config.generation
        self.lock = threading.RLock()
        self._send_lock = threading.Lock()
        self._bus: can.BusABC | None = None
        self._reader: threading.Thread | None = None
        self._failing_since = 0.0
        self._turn_ns = self._turn_seen_ns = 0
        self._checked_ns = self._hung_ns = 0
        self._unjudged = 0

    @property
    def is_open(self) -> bool:
        """The bus was opened and not closed yet; it may be lost all the same."""
        return self._bus is not None

    @property
    def lost(self) -> bool:
        """Nothing can be sent any more."""
        return bool(_LOST & self.monitor.faults.keys())

    def open(self) -> None:
        """Open the bus and start to read."""
        bus = open_bus(self.config)
        self._bus, self._failing_since, self._turn_ns = bus, 0.0, time.monotonic_ns()
        self._reader = threading.Thread(target=self._read_loop, args=(bus,), name="dexhand-reader", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop reading and give the bus back; safe to call twice."""
        with self.lock:
            bus, self._bus = self._bus, None
            self.monitor.watching = False
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(1.0)
        self._reader = None
        if bus is not None:
            with self._send_lock:
                bus.shutdown()

    def send(self, *frames: CanFrame) -> None:
        """Send; failures are counted, and become a fault. A frame that could change the boards for good is refused.

        Raises:
            DeviceError: such a frame; nothing is sent.
        """
        for frame in frames:
            if not is_harmless(frame):
                raise DeviceError(f"frame {frame.can_id:#05x} {frame.data.hex(' ')} could change the boards for good; it is never sent")
        import can

        with self._send_lock:
            for frame in frames:
                if self._bus is None:
                    return
                message = can.Message(
                    arbitration_id=frame.can_id, data=frame.data, is_fd=True, bitrate_switch=True, is_extended_id=False, check=False
                )
                try:
                    self._bus.send(message, SEND_TIMEOUT_S)
                    self._failing_since = 0.0
                except (can.CanError, OSError) as error:
                    self._failed(error)

    def _failed(self, error: Exception) -> None:
        now_s = time.monotonic()
        self._failing_since = self._failing_since or now_s
        if now_s - self._failing_since > SEND_FAILING_S:
            self.fault("bus-gone", f"sending fails: {error}; check adapter and cable, then recover()")

    def fault(self, kind: str, text: str) -> None:
        """Latch a fault."""
        with self.lock:
            self.monitor.fault(kind, text)

    def wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the replies make ``done`` true; tell whether they did."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self.lock:
                if done():
                    return True
            time.sleep(0.002)
        return False

    def check_reader(self, now_ns: int) -> None:
        """Raise a fault when the reading thread hangs in the adapter's driver, and not when this whole program had no processor."""
        step_ns, self._checked_ns = min(now_ns - self._checked_ns, round(CHECK_TURN_S * 1e9)), now_ns
        self._hung_ns = self._hung_ns + step_ns if self._turn_ns == self._turn_seen_ns else 0
        self._turn_seen_ns = self._turn_ns
        if self.monitor.watching and self._hung_ns > self.config.reader_timeout_s * 1e9:
            self.fault("bus-gone", "the reading thread does not come round; check the adapter, then recover()")

    def _read_loop(self, bus: "can.BusABC") -> None:
        import can

        try:
            while bus is self._bus:
                self._read_once(bus)
        except Exception as error:
            if bus is self._bus:
                self.fault("bus-gone", f"{error}; check adapter, cable and power, then recover()")
                if not isinstance(error, (can.CanError, OSError)):
                    raise

    def _read_once(self, bus: "can.BusABC") -> None:
        """Read one message.

        A late thread raises no false alarm: silence is judged only when nothing waits to be read, up to the moment before looking, and
        without the time in which this thread did not come round.
        """
        now_ns = time.monotonic_ns()
        away_ns, self._turn_ns = now_ns - self._turn_ns - round(READER_TURN_S * 1e9), now_ns
        if away_ns > 0:
            with self.lock:
                self.monitor.excuse(away_ns)
        message = bus.recv(0)
        self._unjudged += 1
        if message is None or self._unjudged > BACKLOG:
            self._unjudged = 0
            with self.lock:
                self.monitor.check(now_ns)
        if message is None:
            message = bus.recv(0.01)  # by the wall clock, which may jump
        if message is not None:
            self._take(message, time.monotonic_ns())

    def _take(self, message: "can.Message", now_ns: int) -> None:
        if message.is_error_frame:
            if message.arbitration_id & ERROR_BUS_OFF:
                self.fault("bus-off", "the adapter left the bus after too many errors; check cable and termination, then recover()")
            return
        if message.is_extended_id or message.is_remote_frame:
            return
        reply = decode(self.config.side, self.generation, message.arbitration_id, bytes(message.data))
        if reply is not None:
            with self.lock:
                self.monitor.feed(reply, now_ns)
