"""The playground in a real browser: Debian's chromium without a window, over a gateway in a process of its own."""
