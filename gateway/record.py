"""The base class of frozen values that are created for every request, about ten of them each.

They are msgspec structs because msgspec creates one in half the time of a dataclass that is not frozen.
"""

import msgspec

replace = msgspec.structs.replace
"""Return a copy of a record with other values for some fields, like :func:`dataclasses.replace`."""


class Record(msgspec.Struct, frozen=True):
    """The base class of these values. Subclasses declare their fields in order, with or without defaults."""
