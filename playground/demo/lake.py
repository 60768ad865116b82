"""A folder in, Parquet files in it out: how often each post was read, a file for each month.

python -m playground.demo.lake [FOLDER]
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import duckdb
import typer

from playground.demo.blog import POSTS
from playground.demo.draws import draw_between

DEFAULT_FOLDER = Path(__file__).with_name("lake")
MONTHS = ("2025-10", "2025-11", "2025-12")
CHANNELS = ("web", "feed", "mail")  # schema_configs/analytics/channels.csv has their names

_WRITE = """
COPY (SELECT unnest({posts}) AS post_id, '{month}' AS month, unnest({channels}) AS channel, unnest({readers}) AS readers)
TO '{path}' (FORMAT parquet)
"""

cli = typer.Typer(add_completion=False)


def seed(folder: Path) -> None:
    """Create or replace the files, each in one step: readers see the old file or the new one, nothing between."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".fresh-") as scratch, duckdb.connect() as connection:
        for month in MONTHS:
            fresh = Path(scratch) / f"reads-{month}.parquet"
            connection.execute(_statement(month, fresh))
            fresh.replace(folder / fresh.name)


def _statement(month: str, path: Path) -> str:
    """Write the statement that makes the file of a month; all that stands in it is the demo's own."""
    rows = [
        (int(post_id), channel, draw_between(3, 400, "readers", post_id, month, channel))
        for post_id in POSTS
        for channel in CHANNELS
    ]
    posts, channels, readers = zip(*rows, strict=True)
    return _WRITE.format(posts=[*posts], channels=[*channels], readers=[*readers], month=month, path=str(path).replace("'", "''"))


@cli.command()
def write(folder: Annotated[Path, typer.Argument(help="Where the Parquet files go.")] = DEFAULT_FOLDER) -> None:
    """Create or refresh the demo's files of reads."""
    seed(folder)
    typer.echo(f"seeded {folder}")


if __name__ == "__main__":
    cli()
