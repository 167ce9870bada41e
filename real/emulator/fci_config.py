"""How the emulated arm behaves on the network, and what can go wrong there."""

from dataclasses import dataclass

from dexhil_env.errors import check_ranges


@dataclass(frozen=True)
class FciConfig:
    """How the emulated robot behaves on the network.

    Attributes:
        address: address to listen on; loopback unless you mean it.
        pace: robot seconds per second of wall time, at most 1; lower for a simulation that is slower than real time. libfranka does not
            mind: the robot's clock counts states.
        patience_s: how long a cycle waits for the client's answer before it counts as lost [s]. 0 is the real robot; more keeps a busy
            machine from raising communication errors.
        catch_up_s: a delay up to this is made up for by shorter cycles, a longer one is forgotten [s].
        enforce: end a motion that breaks a limit; False only records.
        realtime: ask Linux for real-time scheduling (needs permission; silently goes on without).
        seed: of the packet loss.
    """

    address: str = "127.0.0.1"
    pace: float = 1.0
    patience_s: float = 0.0
    catch_up_s: float = 0.005
    enforce: bool = True
    realtime: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, {"pace": (0, 1)}, above_low=True)
        check_ranges(self, {"patience_s": (0, 1), "catch_up_s": (0.001, 0.1)}, unit="s")


@dataclass
class LineFaults:
    """What goes wrong on the line.

    Attributes:
        loss: share of states and of commands that vanish, each.
        delay_s: added to the way of every state [s].
    """

    loss: float = 0.0
    delay_s: float = 0.0
