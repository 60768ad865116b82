"""Results of config tests → data for other programs: plain JSON, and JUnit XML for build servers."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gateway.develop.testing.coverage import CoveragePoint
from gateway.develop.testing.run import CaseResult
from gateway.errors import visible


def as_json(results: Sequence[CaseResult], points: Sequence[CoveragePoint]) -> dict[str, Any]:
    """Return each test with its differences, and the coverage points that tests reach and do not reach."""
    reached = {point for result in results for point in result.reached}
    return {
        "tests": [
            {
                "test": result.case.keys.test,
                "file": visible(result.case.place.file),
                "line": result.case.place.line,
                "passed": not result.differences,
                "virtual_ms": round(result.seconds * 1000, 3),
                "differences": [
                    {"about": difference.about, "lines": list(difference.lines)} for difference in result.differences
                ],
            }
            for result in results
        ],
        "reached": [_point(point) for point in points if point in reached],
        "not_reached": [_point(point) for point in points if point not in reached],
    }


def _point(point: CoveragePoint) -> dict[str, str | None]:
    return {"operation": point.owner or None, "step": point.step, "policy": point.policy or None}


def as_junit(results: Sequence[CaseResult]) -> str:
    """Return a JUnit XML report. Times are virtual."""
    failures = sum(bool(result.differences) for result in results)
    suite = Element("testsuite", name="stepgraph", tests=str(len(results)), failures=str(failures), errors="0")
    for result in results:
        place = result.case.place.shown()
        attributes = {
            "name": visible(result.case.keys.test),
            "classname": place.file,
            "file": place.file,
            "line": str(place.line),
        }
        case = SubElement(suite, "testcase", attributes, time=f"{result.seconds:.3f}")
        if result.differences:
            about = ", ".join(difference.about for difference in result.differences)
            failure = SubElement(case, "failure", message=f"not as expected: {about}")
            failure.text = "\n".join(visible(line) for difference in result.differences for line in difference.lines)
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True)
