"""Results of config tests → data for other programs: plain JSON, and JUnit XML as build servers read it."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gateway.develop.testing.coverage import CoveragePoint
from gateway.develop.testing.run import CaseResult


def as_json(results: Sequence[CaseResult], points: Sequence[CoveragePoint]) -> dict[str, Any]:
    """Return each test with its differences, and what no test reaches."""
    reached = {point for result in results for point in result.reached}
    return {
        "tests": [
            {
                "test": result.case.keys.test,
                "file": result.case.place.file,
                "line": result.case.place.line,
                "passed": not result.differences,
                "virtual_ms": round(result.seconds * 1000, 3),
                "differences": [{"about": found.about, "lines": list(found.lines)} for found in result.differences],
            }
            for result in results
        ],
        "reached": [_point(point) for point in points if point in reached],
        "not_reached": [_point(point) for point in points if point not in reached],
    }


def _point(point: CoveragePoint) -> dict[str, str | None]:
    return {"operation": point.owner or None, "step": point.step, "policy": point.policy or None}


def as_junit(results: Sequence[CaseResult]) -> str:
    """Return a JUnit report; times are virtual."""
    failures = sum(bool(result.differences) for result in results)
    suite = Element("testsuite", name="stepgraph", tests=str(len(results)), failures=str(failures), errors="0")
    for result in results:
        place = result.case.place
        attributes = {"name": result.case.keys.test, "classname": place.file, "file": place.file, "line": str(place.line)}
        case = SubElement(suite, "testcase", attributes, time=f"{result.seconds:.3f}")
        if result.differences:
            about = ", ".join(found.about for found in result.differences)
            failure = SubElement(case, "failure", message=f"not as expected: {about}")
            failure.text = "\n".join(line for found in result.differences for line in found.lines)
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True)
