"""The step types: one module each, listed in the registry below."""

from collections.abc import Mapping

from gateway.contract import StepType
from resolvers.api import Api
from resolvers.graphql import GraphQLStep
from resolvers.python_call import PythonCall
from resolvers.transform import Transform
from resolvers.value import Value
from resolvers.warehouse import Warehouse

_ALL: tuple[StepType, ...] = (Api(), Warehouse(), GraphQLStep(), Transform(), Value(), PythonCall())
STEP_TYPES: Mapping[str, StepType] = {step_type.name: step_type for step_type in _ALL}
"""Step types by their name in YAML (``type:``)."""
