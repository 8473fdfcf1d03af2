"""The folders in which a program may work, and what it gets of the environment."""

import pytest

from wirekey.features.local_programs.environment import program_environment
from wirekey.features.local_programs.workspaces import WorkspaceError, workspace


@pytest.fixture
def folders(tmp_path):
    for name in ("allowed/project", "elsewhere", "usual"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "allowed/file").write_text("x")
    (tmp_path / "allowed/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "alias").symlink_to(tmp_path / "allowed")
    return tmp_path.resolve()


@pytest.mark.parametrize("asked", ["allowed", "allowed/project", "allowed/project/../project", "alias/project"])
def test_a_folder_below_an_allowed_one_may_be_chosen(folders, asked):
    assert workspace(f"{folders}/{asked}", None, [folders / "allowed"]).startswith(f"{folders}/allowed")
    assert workspace(f"{folders}/{asked}", None, [folders / "alias"]).startswith(f"{folders}/allowed")


@pytest.mark.parametrize("asked", [None, "", ".", "..", " "])
def test_nothing_chosen_is_the_operators_folder(folders, asked):
    assert workspace(asked, folders / "usual", []) == f"{folders}/usual"
    with pytest.raises(WorkspaceError, match=r"backends\.gemini-cli-acp\.workspace") as refused:
        workspace(asked, None, [folders / "allowed"])
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("elsewhere", 403),
        ("allowed/../elsewhere", 403),
        ("allowed/link", 403),
        ("allowed-not", 403),
        ("not-there", 403),
        ("allowed/not-there", 400),
        ("allowed/file", 400),
        ("allowed/\0", 400),
    ],
)
def test_another_folder_is_refused_whether_or_not_it_exists(folders, asked, status):
    with pytest.raises(WorkspaceError) as refused:
        workspace(f"{folders}/{asked}", folders / "usual", [folders / "allowed"])
    assert refused.value.status == status
    assert str(folders) not in str(refused.value)


@pytest.mark.parametrize("asked", ["project", "./project", "~/project", "../project"])
def test_a_relative_folder_is_refused(folders, asked):
    with pytest.raises(WorkspaceError, match="absolute path"):
        workspace(asked, folders / "usual", [folders])


def test_a_program_gets_no_variable_that_may_have_a_secret():
    environ = {
        **dict.fromkeys(["PATH", "HOME", "LC_ALL", "XDG_CONFIG_HOME", "NODE_EXTRA_CA_CERTS", "MY_FLAG"], "x"),
        **dict.fromkeys(["OPENAI_API_KEY", "GEMINI_API_KEY", "AWS_SECRET_ACCESS_KEY", "WIREKEY_STATE"], "canary"),
        **dict.fromkeys(["HTTPS_PROXY", "GOOGLE_APPLICATION_CREDENTIALS", "MY_PATH", "PATH2", "SOMETHING"], "canary"),
    }
    found = program_environment(environ, ["MY_FLAG", "NOT_THERE"])
    assert sorted(found) == ["HOME", "LC_ALL", "MY_FLAG", "NODE_EXTRA_CA_CERTS", "PATH", "XDG_CONFIG_HOME"]
