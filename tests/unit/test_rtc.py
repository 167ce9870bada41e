"""Chunks that continue given actions: flow times per action, training on the rest only, and the prefix on its way to the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents import flow
from agents.data import ChunkDataset
from agents.policy import VLAPolicy
from agents.serve.remote import RemotePolicy
from agents.serve.server import PolicyServer, ServeConfig
from agents.serve.vla import ServedVLA
from agents.vla.config import VLAConfig, preset
from agents.vla.large import make_model
from dexhil_env import robot
from dexhil_env.errors import ConfigError, RemoteError
from tests.unit.agents_fixture import demos
from tests.unit.test_backbones import BEING, SMOL, TINY, inputs, velocity

CONFIG = replace(preset("debug"), rtc_max_delay=5, noise_samples=3)
KINDS = {"small": CONFIG, "internvl": TINY, "smolvlm": SMOL, "beingh": BEING}


@pytest.fixture(scope="module")
def data():
    return ChunkDataset(demos(), CONFIG)


@pytest.fixture(scope="module")
def policy(data):
    torch.manual_seed(0)
    return VLAPolicy(CONFIG, data.statistics()).eval()


# The network


@pytest.mark.parametrize("kind", KINDS)
def test_each_action_may_have_its_own_time(kind):
    torch.manual_seed(0)
    net = make_model(KINDS[kind], pretrained=False).eval()
    images, texts, state, noisy, time = inputs(KINDS[kind])
    same = time[:, None].expand(-1, noisy.shape[1])
    own = same.clone()
    own[:, :4] = flow.CLEAN
    one, many = (velocity(net, images, texts, state, noisy, each) for each in (time, same))
    assert torch.allclose(one, many, atol=1e-6)
    marked = net.action(noisy, own)
    assert torch.allclose(marked[:, 4:], net.action(noisy, time)[:, 4:], atol=1e-6)
    assert torch.allclose(marked[:, :4], net.action(noisy, torch.ones_like(time))[:, :4], atol=1e-6)
    whole, kept = (velocity(net, images, texts, state, noisy, own, cached=cached) for cached in (False, True))
    assert (whole - kept).abs().max() < 1e-5
    assert (whole[:, 4:] - many[:, 4:]).abs().max() > 1e-5  # the others see that these are clean


def test_interpolation_and_precondition_take_both_kinds_of_time():
    noise, action, time = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([0.2, 0.7])
    mixed = torch.tensor([[1.0, 0.2, 0.2], [1.0, 1.0, 0.7]])
    found = flow.interpolate(noise, action, mixed)
    assert torch.equal(found[0, 0], action[0, 0])
    assert torch.equal(found[1, :2], action[1, :2])
    assert torch.equal(found[:, 2], flow.interpolate(noise, action, time)[:, 2])


# Inference


def test_a_prefix_stands_clean_at_every_step_and_the_rest_reaches_its_goal():
    goal, noise, prefix = torch.randn(2, 6, 4), torch.randn(2, 6, 4), torch.randn(2, 3, 4)
    lengths, seen = torch.tensor([3, 1]), []

    def field(x, time):
        seen.append((x.clone(), time))
        return torch.where(time[..., None] == 1.0, 1e3, (goal - x) / (1 - time)[..., None])

    reached = flow.euler(field, noise, 4, prefix, lengths)
    known = flow.known_mask(lengths, 6)
    assert known.sum(1).tolist() == [3, 1]
    given = torch.cat([prefix, goal[:, 3:]], 1)
    assert torch.equal(reached[known], given[known])
    assert torch.allclose(reached[~known], goal[~known], atol=1e-5)
    for step, (x, time) in enumerate(seen):
        assert torch.equal(x[known], given[known])
        assert torch.equal(time, torch.where(known, 1.0, step / 4))
    assert torch.equal(seen[0][0][~known], noise[~known])


def test_no_prefix_is_as_before(policy, data):
    batch, noise = data.batch(np.arange(3)), torch.randn(3, 16, 19)
    plain = policy.predict_action_chunk(batch, noise)
    assert torch.equal(policy.predict_action_chunk(batch, noise, torch.zeros(3, 0, 19)), plain)
    nothing = policy.predict_action_chunk(batch, noise, torch.zeros(3, 4, 19), torch.zeros(3, dtype=torch.long))
    assert torch.allclose(nothing, plain, atol=1e-5)


def test_chunks_begin_with_what_is_decided_in_radians(policy, data):
    batch, noise = data.batch(np.arange(3)), torch.randn(3, 16, 19)
    prefix = batch["action"][:, :5] + 0.01
    chunk = policy.predict_action_chunk(batch, noise, prefix)
    assert torch.allclose(chunk[:, :5], prefix, atol=1e-6)
    free = policy.predict_action_chunk(batch, noise)
    assert (chunk[:, 5:] - free[:, 5:]).abs().max() > 1e-4
    lengths = torch.tensor([5, 0, 2])
    mixed = policy.predict_action_chunk(batch, noise, prefix, lengths)
    for row, length in enumerate(lengths.tolist()):
        one = {name: value[row : row + 1] for name, value in batch.items()}
        alone = policy.predict_action_chunk(one, noise[row : row + 1], prefix[row : row + 1, :length])
        assert torch.allclose(mixed[row], alone[0], atol=1e-5)
    with pytest.raises(ConfigError, match="at most 5"):
        policy.predict_action_chunk(batch, noise, batch["action"][:, :6])


# Training


def test_training_gives_the_first_actions_and_asks_for_the_rest(policy, data):
    batch = data.batch(np.arange(40))
    caught = {}

    def catch(module, arguments, output):
        output.retain_grad()
        caught.update(noisy=arguments[3], time=arguments[4], velocity=output)

    hook = policy.model.register_forward_hook(catch)
    loss, _ = policy.train()(batch, generator=torch.Generator().manual_seed(0))
    hook.remove()
    loss.backward()
    policy.eval().zero_grad()
    known, gradient = caught["time"] == flow.CLEAN, caught["velocity"].grad
    delays = known.sum(1)
    assert set(delays.tolist()) == set(range(6))
    assert torch.equal(known, flow.known_mask(delays, 16))
    state = batch["observation.state"]
    label = policy._normalised(batch["action"], state).repeat_interleave(3, 0)
    assert torch.allclose(caught["noisy"][known], label[known])
    assert not torch.isclose(caught["noisy"][~known], label[~known]).all(-1).any()
    wanted = ~known & ~batch["action_is_pad"].repeat_interleave(3, 0)
    assert (gradient.abs().amax(-1) > 0).equal(wanted)


def test_configurations_without_it_read_and_write_as_ever():
    off = preset("tiny")
    assert "rtc_max_delay" not in off.to_json()
    assert VLAConfig.from_json(CONFIG.to_json()) == CONFIG
    assert VLAConfig.from_dict({"preset": "tiny"}).rtc_max_delay == 0
    for delay in (-1, 16):
        with pytest.raises(ConfigError, match=r"0\.\.15"):
            replace(off, rtc_max_delay=delay)


# The socket


def test_a_server_of_ours_takes_the_prefix_over_the_socket(policy):
    rng = np.random.default_rng(0)
    pictures = {f"image_{name}": rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for name in CONFIG.cameras}
    floats = {"hand_motor_pos": 12, "fingertip_force": 5, "ee_pose": 7}
    seen = {name: rng.uniform(0, 0.3, width).astype(np.float32) for name, width in floats.items()}
    seen = {**seen, **pictures, "arm_joint_pos": robot.ARM_HOME.astype(np.float32)}
    prefix = np.repeat(0.01 + robot.HOME[None], 4, 0).astype(np.float32)
    with PolicyServer(ServedVLA(policy), ServeConfig(port=0)) as server:
        remote = RemotePolicy(f"ws://127.0.0.1:{server.port}")
        assert remote.longest_prefix == policy.longest_prefix == 5
        for each in (prefix, None):
            remote.reset(3)
            policy.reset(3)
            chunk = remote.plan(seen, "go", each)
            assert np.allclose(chunk, policy.plan(seen, "go", each), atol=1e-5)
            assert np.allclose(chunk[:4], prefix, atol=1e-5) == (each is not None)
        with pytest.raises(RemoteError, match="at most 5 x 19"):
            remote.plan(seen, "go", np.zeros((6, 19), np.float32))
        remote.close()
