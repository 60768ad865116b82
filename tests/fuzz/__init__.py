"""Random input for whatever takes input: the same in every run, unless ``STEPGRAPH_FUZZ_EXAMPLES`` asks for so many new ones."""

import os

from hypothesis import HealthCheck, Phase, settings

_ASKED_FOR = os.environ.get("STEPGRAPH_FUZZ_EXAMPLES")


def budget(examples: int) -> settings:
    """Return how long to look: so many examples, which are always the same, or as many new ones as were asked for."""
    return settings(
        max_examples=int(_ASKED_FOR or examples),
        derandomize=not _ASKED_FOR,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],  # the explaining phase traces every line, at ten times the cost
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
