"""The setting `policy.opa_url`."""

from tests.support.configuration import loaded, problems


def test_a_server_on_this_machine_may_be_queried_without_tls(tmp_path):
    assert str(loaded(tmp_path, "policy: {opa_url: http://127.0.0.1:8181}").policy.opa_url) == "http://127.0.0.1:8181"


def test_a_server_elsewhere_needs_tls(tmp_path):
    (problem,) = problems(tmp_path, "policy: {opa_url: http://opa.example}")
    assert (problem.line, problem.key) == (1, "policy.opa_url")
    assert "unless the host is this machine" in problem.message
