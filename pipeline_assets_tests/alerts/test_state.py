"""Who is told of what, and when: the pure decisions.

What belongs here: looks and targets as plain values. What does not: sending (`test_delivery`).
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.alerts.problems import REMINDED, WITH_AN_END, Kind, Problem
from pipeline_assets.alerts.state import (
    MOST_PROBLEMS,
    Message,
    Pace,
    State,
    due,
    mark_failed,
    mark_told,
    observe,
)

AT_ONCE = Pace(quiet_s=0.0, remind_s=0.0)
MINUTE = 60.0


def problem(name: str, kind: Kind = "quarantined", text: str = "") -> Problem:
    return Problem(f"{kind}/{name}", kind, text or name, run_id="r1", about=(name,))


def look(state: State, now: float, *found: Problem, targets: tuple[str, ...] = ("a",)) -> State:
    return State.read(observe(state, found, now, targets=targets).write())


def tell(state: State, now: float, pace: Pace, target: str = "a") -> tuple[State, Message]:
    message = due(state, target, now, pace)
    return (mark_told(state, target, message, now) if message else state), message


def test_a_problem_is_told_once_and_its_end_once() -> None:
    state, first = tell(look(State(), 0, problem("x")), 0, AT_ONCE)
    assert first.fresh == (problem("x"),)
    state, again = tell(look(state, 1, problem("x")), 1, AT_ONCE)
    assert not again
    state, end = tell(look(state, 2), 2, AT_ONCE)
    assert (end.fresh, end.over) == ((), (problem("x"),))
    assert not look(state, 3).problems


def test_what_comes_in_the_quiet_period_is_told_together_at_its_end() -> None:
    pace = Pace(quiet_s=10 * MINUTE, remind_s=0)
    found = [problem("0")]
    state, first = tell(look(State(), 0, *found), 0, pace)
    assert len(first.fresh) == 1
    for minute in range(1, 10):
        found.append(problem(str(minute)))
        state, message = tell(look(state, minute * MINUTE, *found), minute * MINUTE, pace)
        assert not message
    state, last = tell(look(state, 10 * MINUTE, *found), 10 * MINUTE, pace)
    assert len(last.fresh) == 9


def test_another_kind_of_problem_does_not_wait() -> None:
    pace = Pace(quiet_s=10 * MINUTE, remind_s=0)
    state, _ = tell(look(State(), 0, problem("x")), 0, pace)
    state, message = tell(look(state, 1, problem("x"), problem("y", "run")), 1, pace)
    assert [one.kind for one in message.fresh] == ["run"]


def test_one_that_comes_back_in_the_quiet_period_is_not_told_again() -> None:
    pace = Pace(quiet_s=10 * MINUTE, remind_s=0)
    state, _ = tell(look(State(), 0, problem("x"), problem("y")), 0, pace)
    state, over = tell(look(state, 1, problem("y")), 1, pace)
    assert over.over == (problem("x"),)
    state = look(state, 2)
    state, none = tell(look(state, 3, problem("y")), 3, pace)
    assert not none, "y was away for a moment, and nobody was told that it was over"


def test_whoever_was_told_of_the_end_is_told_that_it_was_none() -> None:
    state, _ = tell(look(State(), 0, problem("x")), 0, AT_ONCE)
    state, _ = tell(look(state, 1, targets=("a", "b")), 1, AT_ONCE)
    state, again = tell(look(state, 2, problem("x"), targets=("a", "b")), 2, AT_ONCE)
    assert again.fresh == (problem("x"),)


def test_what_stays_is_told_again_after_a_while() -> None:
    pace = Pace(quiet_s=0, remind_s=100)
    kinds: tuple[Kind, ...] = ("quarantined", "run", "check")
    for kind in kinds:
        state, _ = tell(look(State(), 0, problem("x", kind)), 0, pace)
        state, early = tell(look(state, 99, problem("x", kind)), 99, pace)
        state, late = tell(look(state, 100, problem("x", kind)), 100, pace)
        assert not early
        assert bool(late.still) == (kind in REMINDED)


def test_a_target_that_is_down_is_tried_ever_more_rarely_and_misses_nothing() -> None:
    state = State()
    tries = []
    for second in range(0, 4 * 3600, 30):
        state = look(state, second, problem("x"))
        if due(state, "a", second, AT_ONCE):
            tries.append(second)
            state = mark_failed(state, "a", "down", second)
    assert tries[:4] == [0, 30, 90, 210]
    assert max(later - earlier for earlier, later in pairwise(tries)) <= 3600
    assert len(tries) < 15
    # It is over before anybody was told, and still no secret.
    state = look(state, 14_400)
    message = due(state, "a", 20_000, AT_ONCE)
    assert message.over == (problem("x"),)
    assert not look(state, 14_400 + 4 * 86_400).problems


def test_what_is_too_much_to_remember_is_counted() -> None:
    many = [problem(f"{number:04}") for number in range(MOST_PROBLEMS + 70)]
    state, message = tell(look(State(), 0, *many), 0, AT_ONCE)
    assert len(message.fresh) == MOST_PROBLEMS
    assert message.more == {"quarantined": 70}
    assert len(state.write()) < 400_000


def test_expired_problems_go_without_a_word() -> None:
    state, _ = tell(look(State(), 0, problem("x", "run")), 0, AT_ONCE)
    state = observe(state, [], 1, targets=["a"], expired={"run/x"})
    assert not due(state, "a", 1, AT_ONCE) and not state.problems


def test_a_memory_that_cant_be_read_starts_over() -> None:
    for text in (
        None,
        "",
        "{",
        "[]",
        '{"problems": [{}]}',
        '{"problems": [{"key": "a", "kind": "no"}]}',
        "7",
    ):
        assert State.read(text) == State()


@given(st.text())
def test_no_text_breaks_the_memory(text: str) -> None:
    assert isinstance(State.read(text), State)


NAMES = st.sampled_from(["u", "v", "w"])
KIND = st.sampled_from(["run", "quarantined", "model"])


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sets(st.tuples(NAMES, KIND)), st.sets(st.sampled_from("ab"))), min_size=1, max_size=25
    ),
    st.sampled_from([0.0, 90.0, 400.0]),
)
def test_every_target_learns_of_every_problem_once_and_in_the_end_knows_what_is_wrong(
    looks: list[tuple[set[tuple[str, Kind]], set[str]]], quiet: float
) -> None:
    """Whatever comes and goes, and whichever targets are down in between."""
    pace = Pace(quiet, 0.0)
    state, now = State(), 0.0
    believed: dict[str, set[str]] = {"a": set(), "b": set()}

    def step(found: set[tuple[str, Kind]], down: set[str]) -> None:
        nonlocal state
        problems = [problem(name, kind) for name, kind in sorted(found)]
        state = look(state, now, *problems, targets=("a", "b"))
        for target in ("a", "b"):
            message = due(state, target, now, pace)
            if not message:
                continue
            if target in down:
                state = mark_failed(state, target, "down", now)
                continue
            state = mark_told(state, target, message, now)
            keys = Counter(one.key for one in message.fresh)
            assert set(keys.values()) <= {1}
            assert not believed[target] & set(keys), "told twice"
            believed[target] |= set(keys)
            believed[target] -= {one.key for one in message.over}

    for found, down in looks:
        step(found, down)
        now += 60.0
    last = looks[-1][0]
    for _ in range(8):  # everything is up, and nothing changes any more
        now += 3600.0
        step(last, set())
    endless = {"model"}
    wrong = {f"{kind}/{name}" for name, kind in last}
    for target in ("a", "b"):
        assert wrong <= believed[target]
        left_over = believed[target] - wrong
        assert all(key.split("/")[0] in endless for key in left_over), "an end that nobody was told of"
    assert endless.isdisjoint(WITH_AN_END)
