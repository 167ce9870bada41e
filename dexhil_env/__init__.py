"""DexHiL environments: an FR3 arm with a DexHand021 hand, in a MuJoCo twin and on hardware, behind one Gymnasium interface."""

from dexhil_env.gl import choose_backend

choose_backend()

from dexhil_env.registration import make_env, register_envs  # noqa: E402  (OpenGL must be chosen before MuJoCo is imported)

__all__ = ["make_env", "register_envs"]
__version__ = "0.1.0"

register_envs()
