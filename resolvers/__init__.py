"""One module per type of step; the registry below is the whole list."""

from collections.abc import Mapping

from gateway.resolver import StepType
from resolvers.api import Api
from resolvers.value import Value
from resolvers.warehouse import Warehouse

STEP_TYPES: Mapping[str, StepType] = {step_type.name: step_type for step_type in (Api(), Warehouse(), Value())}
"""Step types by the name that ``type:`` gives in YAML."""
