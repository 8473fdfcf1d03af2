"""The tests of the core's interface of the shared state, with the state on a server."""

from tests.shared_state.test_several_processes import *  # noqa: F403
from tests.shared_state.test_shared_state import *  # noqa: F403
