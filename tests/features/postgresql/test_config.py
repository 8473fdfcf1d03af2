"""The setting `audit.store` with a database."""

from tests.support.configuration import problems


def test_a_password_in_the_url_is_refused(tmp_path):
    (problem,) = problems(tmp_path, "audit: {store: 'postgresql://me:hidden@db/x'}")
    assert (problem.line, problem.key) == (1, "audit.store")
    assert "contains a password" in problem.message
    assert "hidden" not in str(problem)
