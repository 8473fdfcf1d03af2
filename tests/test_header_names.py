"""The result of a function for a header's name is remembered, within bounds that clients cannot exceed."""

from wirekey.core.header_names import LONGEST, MOST, NameRule


def test_the_function_is_called_once_for_each_name():
    asked = []
    rule = NameRule(lambda name: asked.append(name) or name.lower() == b"host")
    assert [rule[name] for name in (b"Host", b"host", b"Host", b"other")] == [True, True, True, False]
    assert asked == [b"Host", b"host", b"other"]


def test_names_that_clients_choose_do_not_fill_the_memory():
    rule = NameRule(lambda name: name.startswith(b"x-1"))
    for number in range(3 * MOST):
        assert rule[b"x-%d" % number] is str(number).startswith("1")
    assert len(rule) <= MOST
    long = b"x-1" + b"a" * LONGEST
    assert rule[long]
    assert long not in rule
