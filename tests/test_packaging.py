"""The wheel has what users' tools look for: the markers of typed packages."""

import tomllib
from importlib import resources
from typing import Any

import pytest

import gateway
from tests.kit.paths import CHECKOUT

PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]


@pytest.mark.parametrize("package", ["gateway", "resolvers"])
def test_type_checkers_find_the_types_of_a_package(package: str) -> None:
    marker = resources.files(package) / "py.typed"
    assert marker.is_file()
    assert marker.read_bytes() == b""
    assert package in WHEEL["packages"]
    assert not [pattern for pattern in WHEEL["exclude"] if not pattern.startswith("playground/")], "it could leave the marker out"


def test_the_project_says_that_it_is_typed() -> None:
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]


def test_the_version_of_the_project_is_the_one_that_the_gateway_tells() -> None:
    assert PROJECT["project"]["version"] == gateway.__version__
