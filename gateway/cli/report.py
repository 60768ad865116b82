"""Problems of a configuration → text for people: on a terminal with the source line and a caret, else two plain lines.

::

    schema_configs/customer360.yaml:9:15  operation customer360 · step transactionService · endpoint
       9 │     endpoint: /transactions/{custmer_id}
         │               ^
      unknown reference 'custmer_id'; did you mean 'customer_id'?                       [unknown-reference]
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from gateway.errors import Problem, visible

MAX_WIDTH = 110
"""Column of the right edge of the error codes, in terminal cells; a narrower terminal has its own width."""
_MAX_FILE_BYTES = 10_000_000
_TAB = 4
_GUTTER = 7
# Lines must be counted as the parsers count them: PyYAML breaks lines at these characters too, graphql-core does not.
_YAML_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_SDL_BREAK = re.compile("\r\n|[\n\r]")

Lines = Callable[[str], Sequence[str]]
"""Path of a file → its lines; none if it cannot be read."""


def report(problems: Sequence[Problem], console: Console) -> None:
    """Print problems and their number."""
    print_problems(problems, console)
    console.print(Text.assemble(("✗", "red"), f" {counted(len(problems), 'problem')}"))


def shown(text: object) -> str:
    """Return a text that is not ours, such as a file name, for printing between markup."""
    return escape(visible(str(text)))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def print_problems(problems: Sequence[Problem], console: Console) -> None:
    """Print problems. On a console that is not a terminal, each has one line with the place and one with the message."""
    lines = cache(read_lines)
    for problem in problems:
        if console.is_terminal:
            _print(annotated(problem, lines, min(console.width, MAX_WIDTH)), console)
        else:
            _print(plain(problem), console)


def _print(texts: Iterable[Text], console: Console) -> None:
    for text in texts:
        console.print(text, soft_wrap=True)


def plain(problem: Problem) -> list[Text]:
    """Return the two lines of a problem for a log or a pipe."""
    head = Text.assemble((str(problem.place), "bold"), "  ", (visible(problem.subject), "dim"))
    return [head, Text.assemble(f"  {visible(problem.message)}  ", (f"[{problem.code}]", "red"))]


def annotated(problem: Problem, lines: Lines, width: int) -> list[Text]:
    """Return the lines of a problem for a terminal of ``width`` cells: its place, the source line with a caret, its message."""
    head, _ = plain(problem)
    return [head, *_excerpt(problem, lines, width), *_message(problem, width), Text("")]


def read_lines(file: str) -> Sequence[str]:
    """Return the lines of a file, split as the places of problems count them; none if it cannot be read."""
    path = Path(file)
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return ()
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError:
        return ()
    return (_SDL_BREAK if path.suffix == ".graphql" else _YAML_BREAK).split(text)


def _excerpt(problem: Problem, lines: Lines, width: int) -> list[Text]:
    """Return the source line of a problem and the line with the caret; nothing if there is no such line."""
    place, file_lines = problem.place, lines(problem.place.file)
    # The file may have changed since it was loaded.
    if not 1 <= place.line <= len(file_lines) or not file_lines[place.line - 1].strip():
        return []
    line, caret = _visible_part(file_lines[place.line - 1], place.column - 1, max(width - _GUTTER, 20))
    number = f"{place.line:>{_GUTTER - 3}} │ "
    bar = " " * (_GUTTER - 3) + " │ "
    bar = " " * (len(number) - len(bar)) + bar
    return [Text.assemble((number, "dim"), line), Text.assemble((bar, "dim"), " " * caret, ("^", "bold red"))]


def _visible_part(line: str, column: int, width: int) -> tuple[str, int]:
    """Return the visible part of a line and the cell of the caret; a line that is too long is cut around the caret."""
    cells = _cells(line)
    column = min(column, len(cells))
    start, end = 0, len(cells)
    if sum(map(cell_len, cells)) > width:
        start = _fitting(cells[:column][::-1], width // 2, column, -1)
        end = _fitting(cells[start:], width - 1, start, 1)
        if end == len(cells):
            # The end of the line is visible: use the room that is left to show more of what is before it.
            start = _fitting(cells[::-1], width - 1, len(cells), -1)
            start = min(start, column)
    before = "…" if start else ""
    after = "…" if end < len(cells) else ""
    shown = "".join(cells[start:end])
    return f"{before}{shown}{after}", len(before) + sum(map(cell_len, cells[start:column]))


def _fitting(cells: Sequence[str], room: int, index: int, step: int) -> int:
    """Return the index after as many cells as fit into the room, of which one is reserved for an ellipsis."""
    taken = 1
    for cell in cells:
        taken += cell_len(cell)
        if taken > room:
            break
        index += step
    return index


def _cells(line: str) -> list[str]:
    """Return each character as it is displayed: a tab as spaces up to its stop, an unprintable one as a replacement character."""
    shown: list[str] = []
    position = 0
    for character in line:
        text = " " * (_TAB - position % _TAB) if character == "\t" else visible(character)
        shown.append(text)
        position += cell_len(text)
    return shown


def _message(problem: Problem, width: int) -> list[Text]:
    """Return the message with its code at the right edge, or on the next line if both do not fit on one."""
    code, lines = f"[{problem.code}]", _wrapped(visible(problem.message), width - 2)
    room = width - 2 - cell_len(lines[-1]) - cell_len(code)
    texts = [Text(f"  {line}") for line in lines]
    if room >= 2:
        return [*texts[:-1], Text.assemble(texts[-1], " " * room, (code, "red"))]
    return [*texts, Text.assemble(" " * max(width - cell_len(code), 2), (code, "red"))]


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text at spaces into lines of at most ``width`` cells; a longer word has a line of its own."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
