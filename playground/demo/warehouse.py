"""A path in, the demo's SQLite warehouse at that path out: risk profiles, credit terms, monthly revenue.

python -m playground.demo.warehouse [PATH]
python -m playground.demo.warehouse --sql | psql "$WAREHOUSE_URL"
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from playground.demo.data import CREDITS, CUSTOMER_IDS, list_revenues, profile_risk

DEFAULT_PATH = Path(__file__).with_name("warehouse.db")

TABLES = """
CREATE TABLE risk_profiles (customer_id TEXT PRIMARY KEY, score DOUBLE PRECISION, segment TEXT, updated_at TEXT);
CREATE TABLE credit (tier TEXT PRIMARY KEY, credit_limit INTEGER, rate DOUBLE PRECISION);
CREATE TABLE ltv (customer_id TEXT, month TEXT, revenue DOUBLE PRECISION, PRIMARY KEY (customer_id, month));
"""

cli = typer.Typer(add_completion=False)


def seed(path: Path) -> None:
    """Create or replace the warehouse in one step: readers see the old file or the new one, nothing between.

    Missing folders are made. Who has the old file open keeps reading it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only within a file system a rename is atomic.
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        fresh = Path(scratch) / path.name
        with closing(sqlite3.connect(fresh)) as connection:
            _fill(connection)
        # SQLite would play what a crashed writer left into the new file.
        for suffix in ("-journal", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        fresh.replace(path)


def statements() -> Iterator[str]:
    """Yield the warehouse as SQL that other databases take, too."""
    with closing(sqlite3.connect(":memory:")) as connection:
        _fill(connection)
        yield from connection.iterdump()


def _fill(connection: sqlite3.Connection) -> None:
    connection.executescript(TABLES)
    with connection:
        connection.executemany(
            "INSERT INTO risk_profiles VALUES (:customer_id, :score, :segment, :updated_at)",
            map(profile_risk, CUSTOMER_IDS),
        )
        connection.executemany("INSERT INTO credit VALUES (:tier, :limit, :rate)", CREDITS)
        connection.executemany(
            "INSERT INTO ltv VALUES (?, ?, ?)",
            [(customer_id, *revenue) for customer_id in CUSTOMER_IDS for revenue in list_revenues(customer_id)],
        )


@cli.command()
def write(
    path: Annotated[Path, typer.Argument(help="Where the SQLite file goes.")] = DEFAULT_PATH,
    sql: Annotated[bool, typer.Option("--sql", help="Print it as SQL instead, for another database.")] = False,
) -> None:
    """Create or refresh the demo's warehouse."""
    if sql:
        typer.echo("\n".join(statements()))
        return
    seed(path)
    typer.echo(f"seeded {path}")


if __name__ == "__main__":
    cli()
