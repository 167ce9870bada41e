import pytest
from scipy.stats import barnard_exact, binomtest, multinomial

from agents.cli import main
from agents.plan_eval import (
    barnard_p,
    correlation_bounds,
    discordant,
    paired_power,
    smallest_difference,
    trials_needed,
    unpaired_power,
    z_test_trials,
)
from agents.statistics import compare_paired
from dexhil_env.errors import ConfigError

KNOWN = [(0.95, 0.80, 75), (0.95, 0.75, 49), (0.65, 0.35, 42), (0.65, 0.20, 18)]


@pytest.mark.parametrize(("first", "second", "trials"), KNOWN)
def test_trials_match_published_values(first, second, trials):
    assert z_test_trials(first, second) == pytest.approx(trials, abs=0.5)
    needed = trials_needed(lambda n: unpaired_power(first, second, n), guess=trials)
    assert needed == pytest.approx(trials, abs=max(3, 0.08 * trials))  # the exact test is another test, worth a few trials
    assert unpaired_power(first, second, needed) >= 0.8
    assert min(unpaired_power(first, second, n) for n in range(needed - 4, needed)) < 0.8


def test_barnards_test_agrees_with_scipy():
    ours = barnard_p(20)
    for x, y in ((0, 4), (19, 15), (13, 4), (13, 7), (20, 20)):
        theirs = barnard_exact([[x, y], [20 - x, 20 - y]]).pvalue
        assert ours[x, y] == pytest.approx(theirs, abs=2e-3), (x, y)
    # its size never exceeds alpha
    assert max(unpaired_power(p, p, 20) for p in (0.02, 0.1, 0.3, 0.5, 0.9)) <= 0.05


def test_paired_power_is_that_of_the_test_that_is_reported():
    first, second, n, correlation = 0.5, 0.8, 12, 0.3
    gained, lost = discordant(first, second, correlation)
    shares = [gained, lost, 1 - gained - lost]
    found = [(g, k) for g in range(n + 1) for k in range(n + 1 - g) if g + k and binomtest(g, g + k).pvalue <= 0.05]
    counted = sum(multinomial.pmf([g, k, n - g - k], n, shares) for g, k in found)
    assert paired_power(first, second, n, correlation=correlation) == pytest.approx(counted, rel=1e-9)
    assert compare_paired([False] * 6, [True] * 6).p_value <= 0.05 < compare_paired([False] * 5, [True] * 5).p_value
    assert paired_power(0.0, 1.0, 6) == pytest.approx(1.0)
    assert paired_power(0.0, 1.0, 5) == 0.0


def test_correlation_saves_trials_and_has_bounds():
    low, high = correlation_bounds(0.8, 0.95)
    assert discordant(0.8, 0.95, high)[1] == pytest.approx(0.0)  # never lost: as alike as these rates can be
    assert discordant(0.8, 0.95, low)[1] == pytest.approx(0.05)  # always lost where the second fails
    powers = [paired_power(0.5, 0.7, 60, correlation=c) for c in (0.0, 0.3, 0.6)]
    assert powers == sorted(powers)
    with pytest.raises(ConfigError, match="possible is"):
        discordant(0.8, 0.95, 0.9)


def test_power_goes_on_smoothly_where_the_large_sample_form_takes_over(monkeypatch):
    exact = unpaired_power(0.5, 0.6, 200)
    monkeypatch.setattr("agents.plan_eval.LARGEST_BARNARD", 100)
    assert unpaired_power(0.5, 0.6, 200) == pytest.approx(exact, abs=0.02)


def test_smallest_difference_is_just_within_reach():
    other = smallest_difference(lambda a, b: unpaired_power(a, b, 20), 0.5)
    assert other is not None
    assert unpaired_power(0.5, other, 20) >= 0.8 > unpaired_power(0.5, other - 0.005, 20)
    assert smallest_difference(lambda a, b: unpaired_power(a, b, 20), 0.95) is None
    with pytest.raises(ConfigError, match="out of reach"):
        trials_needed(lambda n: 0.1)


def test_the_command_answers_and_refuses(capsys):
    main(["plan-eval", "65", "35", "--trials", "20"])
    text = capsys.readouterr().out
    assert "textbook z test, unpaired: 43" in text
    assert "0.44" in text
    main(["plan-eval"])
    assert "19 against" in capsys.readouterr().out
    for wrong, why in ((["0.8", "0.95"], "80, not 0.8"), (["80"], "needs --trials"), (["--difference", "0.1"], "points")):
        with pytest.raises(SystemExit):
            main(["plan-eval", *wrong])
        assert why in capsys.readouterr().err
