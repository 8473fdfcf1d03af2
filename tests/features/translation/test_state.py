"""Signed reasoning state: who may read it, and when none is carried."""

import hashlib
import hmac
import secrets
from dataclasses import replace

import pytest

from tests.features.translation.cases import STATES
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.installation_keys import REASONING_STATE, MasterSecret
from wirekey.features.translation.neutral import ModelMaker, Reasoning
from wirekey.features.translation.state import StateReader

CLAUDE = Reasoning("hm", "state", ModelMaker.CLAUDE)
OPENAI = Reasoning("hm", "state", ModelMaker.OPENAI, item="rs_1")
BARE = Reasoning()
OLD, NEW = (MasterSecret.parse(secrets.token_hex(32)) for _ in range(2))


@pytest.mark.parametrize("reasoning", [CLAUDE, OPENAI])
def test_a_signed_state_gives_its_blocks_again(reasoning):
    assert STATES.read(STATES.signed_text([reasoning]), BARE) == [reasoning]


def test_a_former_key_still_verifies():
    assert StateReader(b"new", (STATES.key,)).read(STATES.signed_text([CLAUDE]), BARE) == [CLAUDE]
    assert StateReader(b"new").read(STATES.signed_text([CLAUDE]), BARE) == []


@pytest.mark.parametrize(
    ("masters", "blocks"),
    [((OLD,), [CLAUDE]), ((NEW, OLD), [CLAUDE]), ((NEW,), [])],
    ids=["the same secret", "a previous secret", "another secret"],
)
def test_a_replica_reads_the_state_of_another_only_with_its_secret(tmp_path, masters, blocks):
    state = StateReader(OLD.key_for(REASONING_STATE), names_key=True).signed_text([CLAUDE])
    key, *earlier = AgentStore(tmp_path / "agents.json", masters=masters).derived_keys(REASONING_STATE)
    assert StateReader(key, tuple(earlier), names_key=True).read(state, BARE) == blocks


def test_state_of_openai_is_read_with_the_key_that_it_was_made_with_and_no_other():
    first, second = replace(STATES, credential="openai/1"), replace(STATES, credential="openai/2")
    assert first.read(first.signed_text([OPENAI]), BARE) == [OPENAI]
    assert second.read(first.signed_text([OPENAI]), BARE) == []
    assert second.read(first.signed_text([CLAUDE]), BARE) == [CLAUDE]


def test_nothing_is_carried_or_read_if_the_operator_turned_it_off():
    off = replace(STATES, carries=False)
    assert off.signed_text([CLAUDE]) is off.signed_signature([CLAUDE]) is off.signed_id("call_1", [CLAUDE]) is None
    assert off.read(STATES.signed_text([CLAUDE]), BARE) == []
    assert off.read_id(STATES.signed_id("call_1", [CLAUDE])) == ("call_1", [])
    assert off.read("a provider's own", CLAUDE) == [Reasoning("hm", "a provider's own", ModelMaker.CLAUDE)]


def test_the_id_of_the_key_is_in_the_state_where_several_installations_share_it():
    named = replace(STATES, names_key=True)
    for reader in (named, StateReader(b"new", (STATES.key,), names_key=True), STATES):
        assert reader.read(named.signed_text([CLAUDE]), BARE) == [CLAUDE]
        assert reader.read(STATES.signed_text([CLAUDE]), BARE) == [CLAUDE]
    assert StateReader(b"new", names_key=True).read(named.signed_text([CLAUDE]), BARE) == []
    assert len(named.sign([CLAUDE])) == len(STATES.sign([CLAUDE])) + 4


def test_no_byte_of_a_state_with_the_id_of_a_key_can_be_changed():
    named = replace(STATES, names_key=True)
    state = named.sign([CLAUDE])
    for place in range(len(state)):
        changed = bytearray(state)
        changed[place] ^= 1
        assert named.verify(bytes(changed)) == []
        assert named.verify(state[:place]) == []


PLACES = {
    "text": (StateReader.signed_text, lambda reader, state: reader.read(state, BARE)),
    "signature": (StateReader.signed_signature, lambda reader, state: reader.read_signature(state, BARE)),
    "id": (
        lambda reader, blocks: reader.signed_id("call_1", blocks),
        lambda reader, state: reader.read_id(state)[1],
    ),
}


@pytest.mark.parametrize("names_key", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_R52_a_state_is_read_only_for_the_agent_that_got_it(place, names_key):
    sign, read = PLACES[place]
    installation = replace(STATES, names_key=names_key)
    readers = {agent: replace(installation, agent=agent) for agent in ("alice", "bob", "no agent", "", None)}
    for made_for, maker in readers.items():
        state = sign(maker, [CLAUDE])
        for agent, reader in readers.items():
            assert read(reader, state) == ([CLAUDE] if agent == made_for else [])


@pytest.mark.parametrize("version", [1, 2])
def test_R52_a_state_of_a_version_without_an_agent_is_not_read(version):
    signed = bytes((version, 0)) + (
        hashlib.sha256(b"wirekey key id\n" + STATES.key).digest()[:4] if version == 2 else b""
    )
    signed += b'[["claude","hm","state",false,"",null,""]]'
    mac = hmac.digest(STATES.key, signed, "sha256")[:16]
    assert STATES.verify(signed + mac) == []
