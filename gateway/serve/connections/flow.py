"""When the bytes of a client are read: uvicorn's flow control, which can be held while requests wait for their turn."""

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """Reading and writing of one connection.

    uvicorn reads on whenever an ASGI application awaits a message. While the flow is held it does not: a client could fill the memory with
    requests that wait behind that one.
    """

    is_held = False

    def hold(self) -> None:
        """Read nothing until :meth:`release`."""
        self.is_held = True
        self.pause_reading()

    def release(self) -> None:
        """Read on."""
        self.is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless the flow is held."""
        if not self.is_held:
            super().resume_reading()
