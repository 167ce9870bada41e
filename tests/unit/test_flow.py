import numpy as np
import pytest
import torch

from agents import flow


def test_time_is_noise_at_zero_and_data_at_one():
    noise, action = torch.randn(4, 3, 2), torch.randn(4, 3, 2)
    assert torch.equal(flow.interpolate(noise, action, torch.zeros(4)), noise)
    assert torch.allclose(flow.interpolate(noise, action, torch.ones(4)), action)


def test_target_is_the_time_derivative_of_the_path():
    noise, action = torch.randn(4, 3, 2).double(), torch.randn(4, 3, 2).double()
    low, high = (flow.interpolate(noise, action, torch.full((4,), t, dtype=torch.float64)) for t in (0.3, 0.3001))
    assert torch.allclose((high - low) / 1e-4, flow.target_velocity(noise, action), atol=1e-6)


def test_time_is_beta_distributed_and_skewed_to_noise():
    time = flow.sample_time((200_000,), torch.Generator().manual_seed(0))
    assert time.min() >= 0.0
    assert time.max() <= flow.TIME_MAX
    assert time.mean() == pytest.approx(0.4 * flow.TIME_MAX, abs=0.003)
    u = 1 - time / flow.TIME_MAX
    assert (u < 0.5).float().mean() == pytest.approx(0.5**1.5, abs=0.005)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_euler_follows_the_exact_field_of_one_point(steps):
    goal, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    reached = flow.euler(lambda x, t: (goal - x) / (1 - t)[:, None, None], noise, steps)
    assert torch.allclose(reached, goal, atol=1e-5)


def test_masked_error_ignores_what_does_not_count():
    target = torch.zeros(2, 3, 4)
    velocity = torch.ones(2, 3, 4)
    velocity[0, 1:] = 100.0
    mask = torch.tensor([[1, 0, 0], [0, 0, 0]])[..., None]
    assert flow.masked_error(velocity, target, mask).tolist() == [1.0, 0.0]


def test_masked_error_weighs_dimensions():
    velocity = torch.tensor([[[1.0, 2.0]]])
    error = flow.masked_error(velocity, torch.zeros(1, 1, 2), torch.ones(1, 1, 1), torch.tensor([1.5, 0.5]))
    assert error.item() == pytest.approx((1.5 * 1 + 0.5 * 4) / 2)


def test_time_features_tell_close_times_apart():
    features = flow.time_features(torch.tensor([0.0, 0.25, 0.5, 0.999]), 96)
    assert features.shape == (4, 96)
    assert np.min([(features[i] - features[j]).norm() for i in range(4) for j in range(i)]) > 1.0


@pytest.mark.parametrize("t", [0.0, 0.3, 0.6, 0.99])
def test_precondition_leaves_a_rest_of_unit_size_uncorrelated_with_the_input(t):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200_000, generator=generator)
    action = flow.DATA_STD * torch.randn(200_000, generator=generator)
    x = (1 - t) * noise + t * action
    skip, scale = flow.precondition(torch.tensor(t))
    rest = (action - noise - skip * x) / scale
    assert rest.std() == pytest.approx(1.0, abs=0.01)
    assert abs((rest * x).mean()) < 0.01 * x.std()
