"""Requests with a faulty step and a sound one, through an operation ``pair(left:, right:) { first second }`` of the stage."""

from tests.faults import Behaviour
from tests.kit.serving import Answer, Stage


def ask(stage: Stage, query: str) -> Answer:
    """Send a query to the gateway in production mode."""
    return stage.run(lambda: stage.production.ask(query))


def ask_pair(stage: Stage, name: str, behaviour: Behaviour, most_calls: int = 1) -> Answer:
    """Query a faulty path together with a sound one, and check that the sound one is answered and the faulty one was called."""
    stage.upstream.script(f"/{name}", behaviour)
    answer = ask(stage, f'{{ pair(left: "{name}", right: "quick") {{ first second }} }}')
    assert (answer.status, answer.data) == (200, {"pair": {"first": None, "second": "quick"}})
    assert 1 <= stage.upstream.count(f"/{name}") <= most_calls
    assert answer.missing == [("pair", "first", answer.codes[0])]
    return answer
