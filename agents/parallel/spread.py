"""One policy on all processes of a torchrun: copies (DDP) or shares (FSDP2), and whole tensors back from either."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from agents.parallel.config import ScaleConfig
from agents.policy import VLAPolicy
from agents.vla.mot import MoTLayer
from dexhil_env.errors import ConfigError


def join(scale: ScaleConfig, device: str) -> torch.device:
    """Join the processes that torchrun started, if there are several; return this process's device."""
    place = torch.device(device)
    if scale.parallel == "none":
        return place
    if "RANK" not in os.environ:
        raise ConfigError(f"parallel={scale.parallel!r} wants torchrun: torchrun --nproc-per-node N -m agents.cli train ... --parallel ...")
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    return place


def leave() -> None:
    """Part from the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 when it is alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Let rank 0 run the block before the others, e.g. to decode frames once."""
    if size() > 1 and rank() > 0:
        dist.barrier()
    yield
    if size() > 1 and rank() == 0:
        dist.barrier()


def spread(policy: VLAPolicy, scale: ScaleConfig) -> nn.Module:
    """Return what to call in training; ``fsdp2`` changes the policy's parameters into shares in place."""
    if scale.parallel == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        # an insulated understanding expert gets no gradient; every other learning weight does
        return DistributedDataParallel(policy, find_unused_parameters=policy.config.insulate)
    if scale.parallel == "fsdp2":
        _shard(policy, scale)
    return policy


def _shard(policy: VLAPolicy, scale: ScaleConfig) -> None:
    """Share out each layer on its own, so that one at a time is whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # keys and values of the last layer leave it as views; nothing writes into them
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    device = next(policy.parameters()).device.type
    options: dict[str, Any] = {"mesh": init_device_mesh(device, (size(),))}
    if scale.precision == "bf16":  # inputs are cast by autocast: states, actions and the loss stay float32
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for module in [*_vision_layers(policy), *(layer for layer in policy.modules() if isinstance(layer, MoTLayer))]:
        fully_shard(module, **options)
    fully_shard(policy, **options)


def _vision_layers(policy: VLAPolicy) -> list[nn.Module]:
    """Return the layers of a transformer vision tower."""
    tower = getattr(getattr(policy.model, "vision", None), "tower", None)
    encoder: Any = getattr(tower, "encoder", None)
    return [] if encoder is None else list(encoder.layer if hasattr(encoder, "layer") else encoder.layers)


def computing(scale: ScaleConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a forward pass."""
    if scale.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def local(tensor: Tensor) -> Tensor:
    """Return this process's share of a tensor."""
    inner: Any = tensor
    return inner.to_local() if hasattr(inner, "to_local") else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return the whole tensor on the CPU; with shares, all processes must call it."""
    inner: Any = tensor.detach()
    return (inner.full_tensor() if hasattr(inner, "full_tensor") else inner).cpu()


def share(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor laid out like another one."""
    model: Any = like
    if not hasattr(model, "full_tensor"):
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), model.device_mesh, model.placements)
