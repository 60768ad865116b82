"""The response of an upstream GraphQL service → the value of one field, and the places in it that the service reports errors for.

A service is not trusted to report errors as the specification demands (GraphQL spec 7.1.2). Whatever it reports, the value stays as it is,
and each error is placed as exactly as its path allows.
"""

from collections.abc import Mapping
from reprlib import Repr
from typing import Any

from gateway.contract.call import ValuePath
from gateway.errors import Code, StepFault
from resolvers.json_body import MAX_JSON_DEPTH

MAX_ERROR_PLACES = 500
"""Different places of errors in one response; further errors are reported for the whole value."""
_BRIEF = Repr()
"""Shows the beginning of errors, of which there may be megabytes. Longer texts are not cut before what was sent is masked in them."""
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxstring = 4, 5, 10, 10_000


def read_response(response: object, key: str) -> tuple[object, tuple[ValuePath, ...], str]:
    """Return the value of the field ``key``, the paths within that value that have errors, and the errors as text for the log.

    :raises StepFault: the response is not a GraphQL response, or has errors and no value.
    """
    if not isinstance(response, dict):
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail="not a GraphQL response")
    errors, data = response.get("errors"), response.get("data")
    if not isinstance(errors, list | None):
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail=f"'errors' is no list: {_BRIEF.repr(errors)[:500]}")
    if not isinstance(data, dict):
        code = Code.DOWNSTREAM_SERVICE_ERROR if errors else Code.SUBREQUEST_MALFORMED_RESPONSE
        raise StepFault(code, detail=_shown(errors))
    value = data.get(key)
    if not errors:
        return value, (), ""
    if value is None:
        raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=_shown(errors))
    return value, _places(errors, key, value), _shown(errors)


def _shown(errors: object) -> str:
    return f"upstream errors: {_BRIEF.repr(errors)[:500]}"


def _places(errors: list[Any], key: str, value: object) -> tuple[ValuePath, ...]:
    """Return the different places of errors in a value, in the order of the errors."""
    places: dict[ValuePath, None] = {}
    for error in errors:
        place = _place(error.get("path") if isinstance(error, Mapping) else None, key, value)
        places[place if len(places) < MAX_ERROR_PLACES else ()] = None
    return tuple(places)


def _place(path: object, key: str, value: Any) -> ValuePath:
    """Return the longest part of an error's path that exists in the value; it ends at a null, where the upstream's null propagation has."""
    place: list[str | int] = []
    if not isinstance(path, list) or path[:1] != [key]:
        return ()
    for part in path[1 : MAX_JSON_DEPTH + 1]:
        if isinstance(value, dict):
            exists = type(part) is str and part in value
        else:
            # The exact type: a bool is an int too.
            exists = isinstance(value, list) and type(part) is int and 0 <= part < len(value)
        if not exists:
            break
        place.append(part)
        value = value[part]
    return tuple(place)
