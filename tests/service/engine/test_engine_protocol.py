import pytest

from service.engine import Engine, EngineSettings, EngineUnavailable, Sampling, VllmEngine


@pytest.mark.parametrize(
    "values",
    [
        (-0.1, 1.0, 10, None),
        (2.1, 1.0, 10, None),
        (float("nan"), 1.0, 10, None),
        (0.0, 0.0, 10, None),
        (0.0, 1.1, 10, None),
        (0.0, 1.0, 0, None),
        (0.0, 1.0, 10, -1),
        (0.0, 1.0, 10, 2**63),
    ],
)
def test_sampling_out_of_range_is_refused(values):
    with pytest.raises(ValueError, match="must"):
        Sampling(*values)


def test_engine_meets_the_protocol(folder):
    assert isinstance(VllmEngine(EngineSettings(str(folder))), Engine)


async def test_engine_that_was_not_started_is_unavailable(folder):
    engine = VllmEngine(EngineSettings(str(folder)))
    with pytest.raises(EngineUnavailable) as caught:
        await engine.check_health()
    assert caught.value.status == 503
    assert caught.value.retry_after


async def test_stopping_an_engine_that_was_not_started_does_nothing(folder):
    engine = VllmEngine(EngineSettings(str(folder)))
    await engine.stop()
    await engine.stop()
