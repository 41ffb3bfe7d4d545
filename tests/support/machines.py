"""Hypothesis state machines, run with the same settings everywhere."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test


def run_machine(machine: Any, examples: int, steps: int = 30) -> None:
    """Run a state machine.

    Args:
        machine: its class.
        examples: how many histories.
        steps: the most calls in one of them.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
