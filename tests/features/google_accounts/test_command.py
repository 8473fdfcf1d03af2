"""wirekey accounts, with a strict stand-in for Google and a browser that agrees. No output ever has a token."""

import functools
import json
import re
import threading
import webbrowser
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from tests.support.google import stand_ins
from tests.support.running import SimulatorThread
from wirekey.cli.main import group
from wirekey.core.command_name import COMMAND
from wirekey_simulator.google_logins import (
    GoogleLoginService,
)
from wirekey_simulator.plain_http import serving

http_get = functools.partial(httpx.get, verify=False)
"""All of it is plain HTTP, so no request needs the roots, which are slow to load."""
URL = re.compile(r"http://127\.0\.0\.1:\d+/o/oauth2/v2/auth\?\S+")


@pytest.fixture
def google():
    return GoogleLoginService()


@pytest.fixture(scope="module")
def code_assist(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield simulator
    simulator.stop()


@pytest.fixture
def run(tmp_path, monkeypatch, google, code_assist):
    """Run a command. Its whole output is searched for tokens, codes and verifiers."""
    with serving(google) as url:
        settings = {"oauth_client": {"id": "env:CLIENT_ID", "secret": "env:CLIENT_SECRET"}}
        configuration = {"google": settings, "upstream_ca_file": str(code_assist.ca_file)}
        (tmp_path / "wirekey.yaml").write_text(json.dumps(configuration))
        monkeypatch.chdir(tmp_path)
        for variable, value in stand_ins(code_assist=code_assist.url, logins=url).items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("CLIENT_ID", google.client_id)
        monkeypatch.setenv("CLIENT_SECRET", google.client_secret)

        def run(*arguments, code=0, typed=None):
            result = CliRunner().invoke(group, ["accounts", *arguments], input=typed)
            assert result.exit_code == code, result.output
            secrets = [one for one in google.issued if one.startswith(("ya29.", "1//"))]
            assert not [one for one in [*secrets, google.client_secret] if one in result.output]
            return result.stdout if code == 0 else result.stderr

        yield run


@pytest.fixture
def accounts(tmp_path):
    return tmp_path / "state" / "google-accounts"


@pytest.fixture
def browser(monkeypatch):
    """A browser whose person agrees. `browser.changes` are made in the address that it is sent back to."""

    class Browser:
        def __init__(self):
            self.changes, self.pages = {}, []

        def open(self, url):
            threading.Thread(target=self.visit, args=(url,), daemon=True).start()
            return True

        def visit(self, url):
            back = http_get(url).headers["location"]
            for old, new in self.changes.items():
                back = back.replace(old, new)
            self.pages.append(http_get(back))

    made = Browser()
    monkeypatch.setattr(webbrowser, "open", made.open)
    return made


def test_add_logs_in_with_the_browser(run, browser, accounts, google):
    printed = run("add")
    assert "Added the account ann-example.com." in printed
    assert "ann@example.com" in printed
    content = json.loads((accounts / "ann-example.com.json").read_text())
    assert google.person_of(content["access_token"]) == "ann@example.com"
    listed = json.loads(run("list", "--json"))
    assert [(one["account_id"], one["status"]) for one in listed] == [("ann-example.com", "valid")]
    assert "ann@example.com" in run("list")
    shown = run("show", "ann-example.com")
    assert "https://www.googleapis.com/auth/cloud-platform" in shown
    assert "valid" in shown


def test_add_prints_json_for_programs(run, browser):
    added = json.loads(run("add", "--account-id", "work", "--json"))
    assert (added["account_id"], added["email"], added["status"]) == ("work", "ann@example.com", "valid")
    assert not {"access_token", "refresh_token"} & set(added)


@pytest.mark.parametrize("pasted", ["address", "code"])
def test_add_without_a_browser_reads_the_address_or_the_code(run, google, pasted, monkeypatch):
    """The person opens the printed URL elsewhere; the address of the page that does not load is pasted."""
    from wirekey.features.google_accounts import command_login

    printed = []
    monkeypatch.setattr(command_login.click, "echo", lambda text="", **_: printed.append(str(text)))

    def paste(*_, **__):
        [url] = URL.findall("\n".join(printed))
        back = http_get(url).headers["location"]
        assert urlsplit(back).path == "/oauth2callback"
        return back if pasted == "address" else back.partition("code=")[2].partition("&")[0].replace("%2F", "/")

    monkeypatch.setattr(command_login.click, "prompt", paste)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("no browser was wanted"))
    run("add", "--no-browser", "--account-id", "ann")
    assert google.grants == ["authorization_code"]
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state=": "state=x"}, "end of another login"),
        ({"code=": "other="}, "neither a code nor the URL"),
        ({"code=4%2Fcanary": "code=4%2Fother"}, "refuses: invalid_grant"),
        ({"code=": "error=access_denied&other="}, "did not allow the login"),
    ],
    ids=["other state", "no code", "other code", "denied"],
)
def test_a_login_that_ends_in_another_way_stores_nothing(run, browser, accounts, changes, message):
    browser.changes = changes
    assert message in run("add", code=1)
    assert list(accounts.glob("*.json")) == []


def test_a_login_that_no_one_ends_is_given_up(run, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda _: True)
    assert "No one has logged in within 1 s" in run("add", "--timeout", "1", code=1)


def test_a_login_without_a_refresh_token_is_refused(run, browser, google):
    google.is_offline = False
    assert "issued no refresh token" in run("add", code=1)


def test_a_port_in_use_is_reported(run, browser):
    with httpx.Client(), serving(GoogleLoginService()) as url:
        assert "Choose another with --port" in run("add", "--port", url.rpartition(":")[2], code=1)


def test_without_an_oauth_client_the_error_says_how_to_get_one(run, tmp_path):
    (tmp_path / "wirekey.yaml").write_text("{}")
    assert "set google.oauth_client" in run("add", code=1)


def test_an_id_that_is_taken_or_no_word_is_refused_before_the_login(run, browser, google):
    run("add", "--account-id", "ann")
    assert f"{COMMAND} accounts update ann" in run("add", "--account-id", "ann", code=1)
    assert "at most 64 letters, digits" in run("add", "--account-id", "a/b", code=1)
    assert google.grants == ["authorization_code"]


def test_update_logs_the_same_person_in_again(run, browser, accounts, google):
    run("add", "--account-id", "ann")
    before = json.loads((accounts / "ann.json").read_text())
    google.end_logins()
    assert "logged in again" in run("update", "ann")
    after = json.loads((accounts / "ann.json").read_text())
    assert after["created_at"] == before["created_at"]
    assert google.refresh_tokens[after["refresh_token"]] == "ann@example.com"


def test_update_refuses_another_person_unless_forced(run, browser, accounts, google):
    run("add", "--account-id", "ann")
    google.person = "bob@example.com"
    assert "is of bob@example.com" in run("update", "ann", code=1)
    assert json.loads((accounts / "ann.json").read_text())["email"] == "ann@example.com"
    run("update", "ann", "--force")
    assert json.loads((accounts / "ann.json").read_text())["email"] == "bob@example.com"
    assert "no account nobody" in run("update", "nobody", code=1)


def test_remove_asks_first_and_names_the_page_of_google(run, browser, accounts, google):
    run("add", "--account-id", "ann")
    run("remove", "ann", code=1, typed="n\n")
    assert (accounts / "ann.json").exists()
    assert "https://myaccount.google.com/connections" in run("remove", "ann", typed="y\n")
    assert not (accounts / "ann.json").exists()
    assert google.refresh_tokens


def test_remove_can_end_the_access_at_google(run, browser, google):
    run("add", "--account-id", "ann")
    assert json.loads(run("remove", "ann", "--force", "--revoke", "--json"))["revoked"] is True
    assert google.refresh_tokens == {}


def test_a_project_is_set_and_taken_back(run, browser, accounts):
    run("add", "--account-id", "ann")
    run("set-project-id", "ann", "--project-id", "my-project")
    shown = json.loads(run("show", "ann", "--json"))
    assert (shown["project_id"], shown["project_set"]) == ("my-project", True)
    assert "my-project (set by hand)" in run("show", "ann")
    run("set-project-id", "ann", "--clear")
    assert json.loads(run("show", "ann", "--json"))["project_id"] is None
    run("set-project-id", "ann", "--project-id", "")
    run("set-project-id", "ann", code=2)
    run("set-project-id", "ann", "--project-id", "x", "--clear", code=2)


def test_the_project_is_looked_up_at_a_login_unless_that_is_skipped(run, browser, monkeypatch):
    from wirekey.core.errors import UserError
    from wirekey.features.google_accounts import command_login

    asked = []

    async def lookup(token):
        asked.append(token.project_id)
        if token.project_id == "wrong":
            raise UserError("This project is not yours.")
        return token.project_id or "looked-up"

    monkeypatch.setattr(command_login, "project_lookup", lambda *_: lookup)
    assert "looked-up" in run("add", "--account-id", "ann")
    run("add", "--account-id", "bob", "--skip-validation")
    assert asked == [None]
    assert "not yours" in run("set-project-id", "ann", "--project-id", "wrong", code=1)
    assert json.loads(run("show", "ann", "--json"))["project_id"] == "looked-up"
    run("set-project-id", "ann", "--project-id", "wrong", "--skip-validation")
    assert json.loads(run("show", "ann", "--json"))["project_id"] == "wrong"


def test_a_project_that_cannot_be_looked_up_is_reported_and_the_login_is_kept(run, browser, accounts, monkeypatch):
    from wirekey.core.errors import UserError
    from wirekey.features.google_accounts import command_login

    async def lookup(_):
        raise UserError("Your current account is not eligible.")

    monkeypatch.setattr(command_login, "project_lookup", lambda *_: lookup)
    assert "not eligible" in run("add", "--account-id", "ann", code=1)
    assert (accounts / "ann.json").exists()


def test_import_takes_a_login_file_a_token_file_and_a_folder(run, tmp_path, google):
    login = tmp_path / "oauth_creds.json"
    login.write_text(json.dumps(google.log_in("x@example.com") | {"expiry_date": 1_800_000_000_000}))
    assert "Imported account." in run("import", str(login))
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"refreshToken": "1//canary", "email": "bob@example.com", "projectId": "p"}))
    run("import", str(tokens), "--account-id", "bob")
    assert json.loads(run("show", "bob", "--json"))["project_id"] == "p"
    folder = tmp_path / "old"
    folder.mkdir()
    for name in ("carl", "dora"):
        (folder / f"{name}.json").write_text(json.dumps(google.log_in(f"{name}@example.com")))
    imported = json.loads(run("import", str(folder), "--json"))
    assert [one["account_id"] for one in imported] == ["carl", "dora"]
    run("import", str(folder), "--account-id", "x", code=2)
    assert "does not exist" in run("import", str(tmp_path / "missing"), code=2)
    broken = tmp_path / "broken.json"
    broken.write_text('{"access_token": "canary')
    assert "is not JSON" in run("import", str(broken), code=1)


def test_list_without_accounts_says_how_to_add_one_and_reports_broken_files(run, accounts):
    assert f"{COMMAND} accounts add" in run("list")
    accounts.mkdir(parents=True)
    (accounts / "ann.json").write_text("{")
    assert "ann.json" in run("list", code=1)
