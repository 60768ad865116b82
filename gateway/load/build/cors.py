"""``cors:`` of the server: whether its origins and headers are such as browsers send."""

import re

from gateway.errors import Problem
from gateway.language.origin import ANY, origin_mistake
from gateway.load.read.decode import Decoded
from gateway.settings import CorsKeys, ServerDocumentKeys, ServerKeys

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_cors(decoded: Decoded[ServerDocumentKeys], problems: list[Problem]) -> ServerKeys:
    """Return the settings of the server, with default ``cors`` where there is a mistake in it. Mistakes are added to ``problems``."""
    server = decoded.keys.server
    found = _mistakes(decoded, server.cors)
    problems += found
    # A server that starts in spite of problems allows no page of another origin rather than too many.
    return server.model_copy(update={"cors": CorsKeys()}) if found else server


def _mistakes(decoded: Decoded[ServerDocumentKeys], cors: CorsKeys) -> list[Problem]:
    def problem(key: str, position: int, message: str, code: str) -> Problem:
        return decoded.problem(("server", "cors", key, position), message, code)

    found = []
    for position, origin in enumerate(cors.origins):
        if origin != ANY:
            if mistake := origin_mistake(origin):
                found.append(problem("origins", position, mistake, "bad-origin"))
        elif cors.credentials:
            message = "'*' with 'credentials: true' would let every web page read responses as the user; write the origins, or remove one"
            found.append(problem("origins", position, message, "bad-origin"))
        elif len(cors.origins) > 1:
            found.append(problem("origins", position, "'*' allows all origins; remove it, or the others", "bad-origin"))
    found += [
        problem("headers", position, "not a header name, such as authorization", "bad-header")
        for position, name in enumerate(cors.headers)
        if not _HEADER_NAME.fullmatch(name)
    ]
    return found
