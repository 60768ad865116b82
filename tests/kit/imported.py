"""Write an import to a folder, check that it loads, and query a gateway that serves it."""

from pathlib import Path
from typing import Any

from gateway.develop.importing.folder import write_folder
from gateway.develop.importing.result import Imported
from gateway.load.build.build import load
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES
from tests.kit.serving import Gateway


def written(imported: Imported, folder: Path) -> Path:
    """Write an import, load it, compare the numbers of operations and links that it reports, and return its folder."""
    write_folder(folder, imported.files, may_replace=False)
    blueprint = load(folder, STEP_TYPES)
    build_schema(blueprint)
    assert (len(blueprint.operations), len(blueprint.links)) == (imported.operations, imported.links)
    return folder


async def data(gateway: Gateway, query: str, **variables: object) -> Any:
    """Run a query and return its data; it must have no errors."""
    answer = await gateway.ask(query, variables)
    assert "errors" not in answer.body, answer.body
    return answer.data
