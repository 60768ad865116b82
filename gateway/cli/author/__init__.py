"""Commands for authors of a configuration: check, describe, import, plan, test."""
