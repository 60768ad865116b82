"""Tables of a database → a source, operations by key and for lists, links along foreign keys in both directions, and types."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from gateway.develop.importing.database.links import links
from gateway.develop.importing.database.named import NamedTable, name_tables
from gateway.develop.importing.database.postgres import read_postgres
from gateway.develop.importing.database.sql_text import quoted, select
from gateway.develop.importing.database.sqlite import read_sqlite
from gateway.develop.importing.database.tables import DatabaseSchema
from gateway.develop.importing.names import argument_names, source_name
from gateway.develop.importing.result import Imported, ImportFault, Omission
from gateway.develop.importing.sdl_text import EnumType, Field, NamedType, ObjectType, sdl_text
from gateway.develop.importing.yaml_text import CommentedDocument, escape, yaml_text

DEFAULT_LIMIT = 100
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def import_database(url: str, schema: str, folder: Path | None, name: str | None = None) -> Imported:
    """Import the tables of a SQLite file, or of a schema of a PostgreSQL database.

    ``folder`` is the future configuration folder: a relative SQLite path is written relative to it. None stands for a folder with the name
    of the source in the current directory.

    :raises ImportFault: the URL is neither of SQLite nor of PostgreSQL, the database cannot be read, or it has no tables.
    """
    if url.startswith(_SQLITE):
        path = Path(unquote(url.removeprefix(_SQLITE)))
        name = name or source_name(path.stem)
        written = path if path.is_absolute() else Path(os.path.relpath(path, folder or name))
        database = read_sqlite(path, _SQLITE + written.as_posix())
    elif url.startswith(_POSTGRES):
        parts = urlsplit(url)
        name = name or source_name(parts.path.strip("/") or parts.username or "postgres")
        database = read_postgres(url, _without_password(url), schema)
    else:
        raise ImportFault(
            f"'{_without_password(url)}' is no URL of a database: write sqlite:///file.db or postgresql://host/name"
        )
    if not database.tables:
        where = database.url if url.startswith(_SQLITE) else f"the schema '{schema}' of {database.url}"
        raise ImportFault(f"{where} has no tables{'' if url.startswith(_SQLITE) else '; choose another schema with --schema'}")
    return translate(database, name, has_password="password" in urlsplit(url).query or bool(urlsplit(url).password))


def translate(database: DatabaseSchema, name: str, *, has_password: bool = False) -> Imported:
    """Convert the schema of a database to a configuration. ``has_password``: its URL had a password, which is not written."""
    left_out: list[Omission] = []
    tables, enums = name_tables(database, left_out)
    operations = [document for table in tables.values() for document in _operations(table, database, name, enums)]
    linked = links(tables, database, name, left_out)
    origin = f"Imported from {database.url}"
    password = "The password stands in no file: set the whole url in the environment." if has_password else ""
    source = {name: {"type": "warehouse", "url": f"${{{name.upper()}_URL:-{database.url}}}"}}
    header = [f"{origin} by 'stepgraph import database'; change it as you like.", *([password] if password else [])]
    footer = [f"left out: {item.subject}: {item.reason}" for item in left_out]
    files = {
        "source.yaml": yaml_text([CommentedDocument({"sources": source})], header, footer),
        "operations.yaml": yaml_text(operations, (f"{origin}.",)),
    }
    if linked:
        files["links.yaml"] = yaml_text(linked, (f"{origin}: a link for each foreign key, in both directions.",))
    types: list[NamedType] = [_type(table, enums) for table in tables.values()]
    types += [EnumType(enums[key], values) for key, values in database.enums.items()]
    files["types.graphql"] = f"# {origin}.\n\n{sdl_text(types, [])}"
    return Imported(name, files, len(operations), len(types), len(linked), tuple(left_out))


def _without_password(url: str) -> str:
    """Return a URL that can be written to a file: without a password, in the user part or in the query."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    shown_user = f"{user.partition(':')[0]}@" if user else ""
    query = "&".join(pair for pair in parts.query.split("&") if not pair.lower().startswith(("password", "pass", "sslpassword")))
    return urlunsplit((parts.scheme, shown_user + host, parts.path, query, ""))


def _type(table: NamedTable, enums: dict[str, str]) -> ObjectType:
    fields = (
        Field(name, written_type(table, name, enums) + ("" if column.is_nullable else "!"), column.description)
        for name, column in table.fields.items()
    )
    return ObjectType(table.type, tuple(fields), table.table.description)


def written_type(table: NamedTable, field: str, enums: dict[str, str]) -> str:
    """Return the type of a field, with enumerations by their GraphQL names."""
    text = table.type_of(field)
    name = text.strip("[]")
    return text.replace(name, enums.get(name, name))


def _operations(table: NamedTable, database: DatabaseSchema, source: str, enums: dict[str, str]) -> Iterator[CommentedDocument]:
    columns = table.selection
    relation = table.relation(database.schema)
    by_key = _by_key(table)
    if by_key:
        names = argument_names()
        args = {names.take(field): field for field in by_key}
        condition = " AND ".join(f"{quoted(table.fields[field].name)} = :{name}" for name, field in args.items())
        step: dict[str, object] = {
            "name": next(name for name in ("one", "row", "record") if name not in args),
            "type": "warehouse",
            "source": source,
            "query": select(columns, relation, f"WHERE {condition}"),
            "params": {name: f"{{{name}}}" for name in args},
            "returns": table.type,
        }
        types = {name: f"{written_type(table, field, enums)}!" for name, field in args.items()}
        yield _document(table.one, escape(table.table.description), types, step)
    yield _document(
        table.many,
        f"The first {DEFAULT_LIMIT} unless a limit is given" + (", in order of the key." if by_key else "."),
        {"limit": "Int", "offset": "Int"},
        {
            "name": "list",
            "type": "warehouse",
            "source": source,
            "query": select(
                columns, relation, table.order, f"LIMIT coalesce(:limit, {DEFAULT_LIMIT}) OFFSET coalesce(:offset, 0)"
            ),
            "params": {"limit": "{limit?}", "offset": "{offset?}"},
            "returns": f"[{table.type}!]",
        },
    )


def _document(name: str, description: str, args: dict[str, str], step: dict[str, object]) -> CommentedDocument:
    described = {"description": description} if description else {}
    aggregation = {"strategy": "pick", "step": step["name"]}
    return CommentedDocument({"operation": name, **described, "args": args, "steps": [step], "aggregation": aggregation})


def _by_key(table: NamedTable) -> list[str]:
    """Return the fields of the primary key; none if a column of it was left out."""
    fields = [table.field_of(column) for column in table.table.primary_key]
    return [field for field in fields if field] if all(fields) else []
