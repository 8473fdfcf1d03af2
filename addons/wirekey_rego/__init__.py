"""Compiles Rego policies so that the engine regorus evaluates them as OPA does, or refuses them.

`compile` is the entry point. Other packages use only the names that this module exports. See README.md.
"""

from wirekey_rego.errors import CompileError, EvaluationError, RegoProblem, UnknownPackage
from wirekey_rego.own_tests import failed_tests
from wirekey_rego.policy import DefinitionValue, RegoPolicy, compile, is_package_path  # noqa: A004  # see compile
from wirekey_rego.sourcemap import SourcePosition
from wirekey_rego.syntax import Mention, RuleSyntax, Syntax

__all__ = [
    "CompileError",
    "DefinitionValue",
    "EvaluationError",
    "Mention",
    "RegoPolicy",
    "RegoProblem",
    "RuleSyntax",
    "SourcePosition",
    "Syntax",
    "UnknownPackage",
    "compile",
    "failed_tests",
    "is_package_path",
]
