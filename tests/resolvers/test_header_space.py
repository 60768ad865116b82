"""White space around the value of a header that is sent to a service."""

import pytest

from resolvers.transport.encoding import encode_headers


@pytest.mark.parametrize(
    ("value", "sent"), [(" a", "a"), ("a ", "a"), ("\ta b\t ", "a b"), (" ", ""), ("", ""), ("\xa0a", "\xa0a"), (7, "7")]
)
def test_white_space_around_a_value_is_no_part_of_it(value: object, sent: str) -> None:
    assert encode_headers({"x-v": value}) == [("x-v", sent)]
