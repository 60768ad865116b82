"""The benchmark: the gateway and its rivals, interleaved in one run (`make bench`)."""
