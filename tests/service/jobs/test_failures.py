"""A failure as the problem object the world sees."""

from service.jobs.failures import deadline_exceeded, problem_object, worker_lost
from service.jobs.values import Failure


def test_a_failure_is_shown_with_its_code_and_its_sentence() -> None:
    shown = problem_object(Failure(code="diverged", title="The fit diverged", detail="lower learning_rate"))
    assert shown == {
        "type": "urn:l0:error:diverged",
        "title": "The fit diverged",
        "status": 500,
        "code": "diverged",
        "detail": "lower learning_rate",
        "retryable": False,
    }


def test_a_failure_that_is_the_input_s_points_at_the_field() -> None:
    shown = problem_object(Failure(code="infeasible_budget", detail="too large", pointer="/hyperparameters/a"))
    assert shown["status"] == 422
    assert shown["errors"] == [
        {"pointer": "/hyperparameters/a", "code": "infeasible_budget", "detail": "too large"},
    ]


def test_the_sentences_hold_the_numbers() -> None:
    assert "each of 3 attempts" in worker_lost(3).detail
    assert "deadline_seconds of 1.5" in deadline_exceeded(1.5).detail


def test_the_service_s_own_failures_are_final() -> None:
    assert not worker_lost(3).retry
    assert not deadline_exceeded(1.0).retry
