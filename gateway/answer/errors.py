"""The errors of one answer, and a watch on how large its data become while they are put together."""

from collections.abc import Sequence

from gateway.contract.shape import encode_shaped
from gateway.document.budget import NotImmediate
from gateway.errors import response_too_large

LONG_LIST = 3000
"""Items. Completing longer lists is for a thread: it takes longer than the event loop may be held."""
LISTS_WEIGHED, LISTS_WITH_LINKS_WEIGHED = 1000, 20
"""Items. Shorter lists are not weighed: they are about as large as what the upstream has sent, and links multiply it no more often than that."""
IMMEDIATE_BYTES = 500_000
"""The largest answer, about, that is put together on the event loop."""
NO_LIMIT = 1 << 62


class Errors(list[dict[str, object]]):
    """The errors of one answer, in the order of the response.

    Aliases, and links that give many parents the same large value, multiply what the upstreams have sent: an answer of some hundred megabytes
    can come from a few small replies. Its size is therefore estimated on the way, before it is written.
    """

    # Class attributes as defaults: nearly no answer has errors, or lists so long that these are looked at.
    max_bytes = NO_LIMIT
    is_immediate = False
    """Whether the answer is put together on the event loop."""
    bytes = 0

    def expect_long_list(self) -> None:
        """Note that a list of more than ``LONG_LIST`` items is going to be completed.

        :raises NotImmediate: this would hold up the event loop.
        """
        if self.is_immediate:
            raise NotImmediate

    def weigh(self, items: Sequence[object]) -> None:
        """Add the estimated size of a long list, which is in no other list.

        :raises RequestError: the answer is larger than allowed.
        :raises NotImmediate: writing it would hold up the event loop.
        """
        sample = len(encode_shaped(items[0])) + len(encode_shaped(items[len(items) // 2]))
        self.bytes += sample * len(items) // 2
        if self.bytes > self.max_bytes:
            raise response_too_large(self.max_bytes)
        if self.is_immediate and self.bytes > IMMEDIATE_BYTES:
            raise NotImmediate
