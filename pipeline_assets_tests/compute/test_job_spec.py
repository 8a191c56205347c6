"""Requests and answers of jobs survive their way as text; what is none is refused."""

import json

import pytest

from pipeline_assets.compute.job_spec import JobSpec, UnitAnswer
from pipeline_assets.storage.units import Unit

SPEC = JobSpec(
    layers=("bronze", "silver"),
    units=(Unit("daily", "2024-01-15"), Unit("incremental", "2024-01-17-1430-2")),
    reuse=True,
    settings={"PIPELINE_TIMEZONE": "Europe/Berlin"},
    version="0.1.0+abc",
)


def test_a_request_is_the_same_after_its_way() -> None:
    assert JobSpec.from_json(SPEC.to_json()) == SPEC
    assert "\n" not in SPEC.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers": ["bronze"], "units": ["x"], "reuse": true}'])
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        JobSpec.from_json(text)


def test_an_answer_is_the_same_after_its_way() -> None:
    answer = UnitAnswer(Unit("daily", "2024-01-15"), "quarantined", "a <b> `c`", ("logs/x",), 1.5, 0.25)
    assert UnitAnswer.from_message(json.loads(json.dumps(answer.to_message()))) == answer


@pytest.mark.parametrize(
    "said", [{}, {"unit": "daily/2024-01-15", "fate": "lost"}, {"unit": "x", "fate": "made"}]
)
def test_what_is_no_answer_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        UnitAnswer.from_message(said)
