"""A faulty step beside a sound one: asked through an operation ``pair(left:, right:) { first second }`` of the stage."""

from tests.faults import Behaviour
from tests.kit.serving import Answer, Stage


def ask(stage: Stage, query: str) -> Answer:
    """Ask in production mode."""
    return stage.run(lambda: stage.production.ask(query))


def ask_pair(stage: Stage, name: str, behaviour: Behaviour, most_calls: int = 1) -> Answer:
    """Ask for a faulty path beside a sound one, which must be answered; the faulty one is called at least once."""
    stage.upstream.script(f"/{name}", behaviour)
    answer = ask(stage, f'{{ pair(left: "{name}", right: "quick") {{ first second }} }}')
    assert (answer.status, answer.data) == (200, {"pair": {"first": None, "second": "quick"}})
    assert 1 <= stage.upstream.count(f"/{name}") <= most_calls
    assert answer.missing == [("pair", "first", answer.codes[0])]
    return answer
