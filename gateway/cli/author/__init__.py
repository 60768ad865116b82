"""Commands for those who write a configuration: check, describe, import, plan, test."""
