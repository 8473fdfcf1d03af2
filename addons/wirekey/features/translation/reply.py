"""The values that the response to a translated request needs: the request, ids, the time, and a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.members import object_text, raw_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from msgspec import Raw

    from wirekey.features.translation.context import Context
    from wirekey.features.translation.state import StateReader

MAX_HELD = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """The values that are known before the first byte of a response.

    `created` is the time in seconds since 1970. `make_id` returns 24 random letters and digits. `query` is the query of
    the client's request. `max_held` is the most memory of a stream that its last event repeats, in bytes.
    """

    context: Context
    conversation: n.Conversation
    states: StateReader
    created: int
    make_id: Callable[[], str]
    query: str = ""
    max_held: int = MAX_HELD

    def id(self, prefix: str, upstream: str | None) -> str:
        """Return the id of a response: the body of the upstream's id behind the client's prefix, or a new one."""
        body = (upstream or "").rpartition("_")[2].removeprefix("chatcmpl-")
        return prefix + (body or self.make_id())

    def model(self, named: str | None) -> str:
        """Return the model as the upstream names it, or else as the route does."""
        return named or self.context.model

    @property
    def shows_thoughts(self) -> bool:
        """Whether the client asked to see the text of the reasoning."""
        return bool(self.conversation.thinking and self.conversation.thinking.show)

    def tool_name(self, name: str) -> str:
        """Return the client's own name of a tool."""
        return self.context.tool_names.incoming(name)

    def is_custom(self, name: str) -> bool:
        """Return whether a tool of the client takes free text."""
        return any(tool.custom and tool.name == name for tool in self.conversation.tools)

    def is_own(self, reasoning: n.Reasoning) -> bool:
        """Return whether the client's format carries this state as it is."""
        client = self.context.client
        return reasoning.issuer is client.own_states and (not reasoning.binary or client.binary_states)

    def shows_whole(self, reasoning: n.Reasoning) -> bool:
        """Return whether a client of Claude's formats gets reasoning with its text and its signature.

        Claude's own signature stays with its block, also without a text, and if the client did not ask for thinking:
        it is no redacted reasoning.
        """
        if self.is_own(reasoning) and reasoning.state and not reasoning.redacted:
            return True
        return bool(reasoning.text) and self.shows_thoughts

    def carried(self, reasoning: n.Reasoning) -> str | None:
        """Return the state of a block for an opaque place of the client's format, signed if it is foreign."""
        if reasoning.state is None:
            return None
        if self.is_own(reasoning):
            return reasoning.state
        return self.reported(self.states.signed_text([reasoning]))

    def reported(self, signed: str | None) -> str | None:
        """Return a signed state, and report the loss of one that is too large."""
        if signed is None and self.states.carries:
            self.context.losses.report("reasoning_state")
        return signed

    def carried_or_mark(self, reasoning: n.Reasoning) -> str | None:
        """Return the state of a block whose text the client shows, or a mark that it has none.

        The provider of the client's own format refuses reasoning that it did not sign. By the mark, Wirekey finds the
        block and removes it if the conversation continues there.
        """
        return self.carried(reasoning) or self.unsigned_mark

    @property
    def unsigned_mark(self) -> str | None:
        """A signed state without any block."""
        return self.states.signed_text([])


def object_arguments(call: n.ToolCall) -> Raw:
    """Return the arguments of a call as an object; text of a call that was cut off is kept in one."""
    text = object_text(call.arguments)
    return raw_json({"arguments": call.arguments}) if text is None else _raw(text)


def _raw(text: str) -> Raw:
    from msgspec import Raw

    return Raw(text.encode())


def text_arguments(call: n.ToolCall) -> str:
    """Return the arguments of a call as text: never empty, and as it came if the call was cut off."""
    text = object_text(call.arguments)
    return call.arguments if text is None else text


def finish_with_calls(finish: n.Finish, blocks: Iterable[n.Block]) -> n.Finish:
    """Return the finish of a response: a complete call makes "end" into "calls"."""
    if finish in {n.Finish.END, n.Finish.OTHER} and any(isinstance(block, n.ToolCall) for block in blocks):
        return n.Finish.CALLS
    return finish


def joined_text(blocks: Iterable[n.Block]) -> str:
    """Return the texts of a response as one."""
    return "".join(block.text for block in blocks if isinstance(block, n.Text))


def joined_reasoning(blocks: Iterable[n.Block]) -> str:
    """Return the texts of the reasoning as one."""
    return "".join(block.text or "" for block in blocks if isinstance(block, n.Reasoning))
