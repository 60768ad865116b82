"""One operation, link or overlay → its part of the Blueprint, with all of its problems at once."""
