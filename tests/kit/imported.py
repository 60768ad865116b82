"""An import → a folder that passes ``check`` and is served, and what it answers."""

from pathlib import Path
from typing import Any

from gateway.develop.importing.folder import write_folder
from gateway.develop.importing.result import Imported
from gateway.load.build.build import load
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES
from tests.kit.serving import Gateway


def written(imported: Imported, folder: Path) -> Path:
    """Write an import, hold it to ``check`` and to the numbers that it gives, and return its folder."""
    write_folder(folder, imported.files, may_replace=False)
    blueprint = load(folder, STEP_TYPES)
    build_schema(blueprint)
    assert (len(blueprint.operations), len(blueprint.links)) == (imported.operations, imported.links)
    return folder


async def data(gateway: Gateway, query: str, **variables: object) -> Any:
    """Return the data of a query, which must have no error."""
    answer = await gateway.ask(query, variables)
    assert "errors" not in answer.body, answer.body
    return answer.data
