"""Rehearsals → data for other programs: plain JSON, and JUnit XML as build servers read it."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gateway.develop.testing.coverage import Point
from gateway.develop.testing.run import Rehearsal


def as_json(rehearsals: Sequence[Rehearsal], points: Sequence[Point]) -> dict[str, Any]:
    """Return each test with its differences, and what no test reaches."""
    reached = {point for rehearsal in rehearsals for point in rehearsal.reached}
    return {
        "tests": [
            {
                "test": rehearsal.case.keys.test,
                "file": rehearsal.case.place.file,
                "line": rehearsal.case.place.line,
                "passed": not rehearsal.differences,
                "virtual_ms": round(rehearsal.seconds * 1000, 3),
                "differences": [{"about": found.about, "lines": list(found.lines)} for found in rehearsal.differences],
            }
            for rehearsal in rehearsals
        ],
        "reached": [_point(point) for point in points if point in reached],
        "not_reached": [_point(point) for point in points if point not in reached],
    }


def _point(point: Point) -> dict[str, str | None]:
    return {"operation": point.owner or None, "step": point.step, "policy": point.policy or None}


def as_junit(rehearsals: Sequence[Rehearsal]) -> str:
    """Return a JUnit report; times are virtual."""
    failures = sum(bool(rehearsal.differences) for rehearsal in rehearsals)
    suite = Element("testsuite", name="stepgraph", tests=str(len(rehearsals)), failures=str(failures), errors="0")
    for rehearsal in rehearsals:
        place = rehearsal.case.place
        attributes = {"name": rehearsal.case.keys.test, "classname": place.file, "file": place.file, "line": str(place.line)}
        case = SubElement(suite, "testcase", attributes, time=f"{rehearsal.seconds:.3f}")
        if rehearsal.differences:
            about = ", ".join(found.about for found in rehearsal.differences)
            failure = SubElement(case, "failure", message=f"not as expected: {about}")
            failure.text = "\n".join(line for found in rehearsal.differences for line in found.lines)
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True)
