"""Google logins at /auth/login, on the gateway and the console, with a strict stand-in for Google."""

import functools
import json
import stat
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.google import stand_ins
from tests.support.running import SimulatorThread, Wirekey, wait_for
from wirekey_simulator.google_logins import AUTHORIZE_PATH, GoogleLoginService
from wirekey_simulator.plain_http import serving

http_get = functools.partial(httpx.get, verify=False)
"""All of it is plain HTTP, so no request needs the roots, which are slow to load."""
NOT_LOGGED_IN = {"authenticated": False}


@pytest.fixture(scope="module")
def google():
    return GoogleLoginService()


@pytest.fixture(scope="module")
def google_url(google):
    with serving(google) as url:
        yield url


CLIENT = {"id": "env:CLIENT_ID", "secret": "env:CLIENT_SECRET"}


@pytest.fixture(scope="module")
def code_assist(tmp_path_factory):
    """The stand-in that knows the project of each login."""
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, google, google_url, code_assist):
    configuration = {
        "listen": {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"},
        "backends": {"gemini-oauth-auto": {"enabled": True}},
        "google": {"oauth_client": CLIENT},
        "upstream_ca_file": str(code_assist.ca_file),
    }
    environ = {"CLIENT_ID": google.client_id, "CLIENT_SECRET": google.client_secret}
    environ |= stand_ins(code_assist=code_assist.url, logins=google_url)
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), configuration, environ=environ)
    yield running
    running.stop()


@pytest.fixture
def folder(wirekey):
    return wirekey.state / "google-accounts"


@pytest.fixture(autouse=True)
def _no_accounts(wirekey, folder, google):
    google.denies, google.userinfo_fails, google.person = False, False, "ann@example.com"
    for path in folder.glob("*.json"):
        path.unlink()
    wait_for(lambda: http_get(f"{address(wirekey, 'gateway')}/auth/status").json() == NOT_LOGGED_IN, "no accounts")


def address(wirekey, listener):
    """The URL of a listener, by the name localhost, as in the redirect of a login."""
    place = wirekey.running.gateway if listener == "gateway" else wirekey.running.console
    return f"http://localhost:{place.rpartition(':')[2]}"


def status(wirekey, listener="gateway"):
    return http_get(f"{address(wirekey, listener)}/auth/status").json()


def begin(wirekey, browser, listener="gateway"):
    """Return the address with which Google's page sends this browser back."""
    response = browser.get(f"{address(wirekey, listener)}/auth/login")
    assert response.status_code == 302
    return browser.get(response.headers["location"]).headers["location"]


@pytest.mark.parametrize("listener", ["gateway", "console"])
def test_a_login_in_the_browser_stores_the_account(wirekey, google, folder, listener):
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
        page = browser.get(f"{address(wirekey, listener)}/auth/login")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "successful" in page.text
    assert "ann@example.com" in page.text
    assert "<script" not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    shown = status(wirekey, listener)
    assert shown["authenticated"] is True
    assert shown["email"] == "ann@example.com"
    assert shown["projectId"] == "sim-project-1"
    end = time.strptime(shown["expiresAt"][:19], "%Y-%m-%dT%H:%M:%S")
    assert end
    assert shown["expiresAt"][19] == "."
    assert shown["expiresAt"].endswith("Z")
    assert len(shown["expiresAt"]) == len("2026-03-09T10:33:14.302Z")
    [path] = folder.glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = json.loads(path.read_text())
    assert google.person_of(content["access_token"]) == "ann@example.com"
    assert google.refresh_tokens[content["refresh_token"]] == "ann@example.com"
    assert list((folder / "logins").iterdir()) == []


def test_the_page_gets_the_redirect_with_the_real_port_and_the_challenge(wirekey, google_url):
    response = http_get(f"{address(wirekey, 'gateway')}/auth/login")
    location = response.headers["location"]
    assert location.startswith(google_url + AUTHORIZE_PATH)
    query = parse_qs(urlsplit(location).query)
    assert query["redirect_uri"] == [f"{address(wirekey, 'gateway')}/auth/callback"]
    assert query["code_challenge_method"] == ["S256"]
    assert (query["access_type"], query["prompt"]) == (["offline"], ["consent"])
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=600" in cookie
    assert "access-control-allow-origin" not in response.headers


def test_a_second_login_of_the_same_person_replaces_the_first(wirekey, folder, google):
    for _ in range(2):
        with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
            assert browser.get(f"{address(wirekey, 'gateway')}/auth/login").status_code == 200
    assert len(list(folder.glob("*.json"))) == 1
    google.person = "bob@example.com"
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
        assert browser.get(f"{address(wirekey, 'gateway')}/auth/login").status_code == 200
    assert len(list(folder.glob("*.json"))) == 2
    assert status(wirekey)["email"] == "bob@example.com"


def test_a_login_without_an_email_is_no_failure(wirekey, google):
    google.userinfo_fails = True
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
        assert browser.get(f"{address(wirekey, 'gateway')}/auth/login").status_code == 200
    assert status(wirekey)["authenticated"] is True


def changed(url, **fields):
    """Return a callback with other fields; None removes one."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | fields
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{parts.scheme}://{parts.netloc}{parts.path}", kept


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "a" * 43},
        {"state": None},
        {"state": ""},
        {"code": None},
        {"code": "4/another-code"},
        {"error": "access_denied", "code": None},
        {"error": "access_denied"},
        {"code": "a\nb"},
    ],
    ids=["other state", "no state", "empty state", "no code", "other code", "denied", "denied with code", "two lines"],
)
def test_a_wrong_callback_gets_a_page_and_stores_nothing(wirekey, folder, fields):
    with httpx.Client(verify=False, timeout=60) as browser:
        url, query = changed(begin(wirekey, browser), **fields)
        page = browser.get(url, params=query)
        assert page.status_code == 400
        assert "text/html" in page.headers["content-type"]
        assert "Login failed" in page.text
    assert list(folder.glob("*.json")) == []
    assert status(wirekey) == NOT_LOGGED_IN


def test_a_state_works_once(wirekey, folder):
    with httpx.Client(verify=False, timeout=60) as browser:
        url = begin(wirekey, browser)
        cookie = dict(browser.cookies)
        assert browser.get(url).status_code == 200
        browser.cookies.update(cookie)
        assert browser.get(url).status_code == 400
    assert len(list(folder.glob("*.json"))) == 1


def test_a_login_that_ends_in_another_browser_is_refused(wirekey, folder):
    with httpx.Client(verify=False, timeout=60) as browser, httpx.Client(verify=False, timeout=60) as other:
        url = begin(wirekey, browser)
        begin(wirekey, other)
        assert other.get(url).status_code == 400
        assert browser.get(url).status_code == 400  # used by the attempt
    assert list(folder.glob("*.json")) == []


def test_a_login_that_began_long_ago_is_refused(wirekey, folder):
    with httpx.Client(verify=False, timeout=60) as browser:
        url = begin(wirekey, browser)
        for path in (folder / "logins").glob("*.login"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"began": time.time() - 601}))
        assert browser.get(url).status_code == 400
    assert list(folder.glob("*.json")) == []


@pytest.mark.parametrize("listener", ["gateway", "console"])
@pytest.mark.parametrize(
    ("path", "headers", "refused"),
    [
        ("/auth/status", {"sec-fetch-site": "cross-site"}, 403),
        ("/auth/status", {"sec-fetch-site": "same-site"}, 403),
        ("/auth/status", {"origin": "https://evil.example"}, 403),
        ("/auth/status", {"host": "evil.example"}, 421),
        ("/auth/status", {"x-forwarded-for": "192.0.2.1"}, 403),
        ("/auth/login", {"sec-fetch-site": "cross-site"}, 403),
        ("/auth/login", {"origin": "null"}, 403),
        ("/auth/login", {"host": "evil.example"}, 421),
        ("/auth/login", {"x-forwarded-for": "192.0.2.1"}, 403),
        ("/auth/callback", {"sec-fetch-mode": "no-cors"}, 403),
        ("/auth/callback", {"sec-fetch-mode": "cors"}, 403),
        ("/auth/callback", {"host": "evil.example"}, 421),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_pages_of_other_sites_and_other_machines_get_nothing(wirekey, listener, path, headers, refused):
    place = wirekey.running.gateway if listener == "gateway" else wirekey.running.console
    response = http_get(f"http://{place}{path}", headers=headers)
    assert response.status_code == refused
    assert "set-cookie" not in response.headers
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/callback", "/auth/status"])
def test_only_get_is_accepted(wirekey, path, method):
    assert httpx.request(method, f"{address(wirekey, 'gateway')}{path}").status_code == 405


def test_a_browser_at_an_address_is_sent_to_localhost_first(wirekey):
    """The cookie belongs to the name that sets it, and Google redirects to localhost."""
    url = f"http://{wirekey.running.gateway}/auth/login"
    response = http_get(url, headers={"sec-fetch-site": "none", "sec-fetch-mode": "navigate"})
    assert response.headers["location"] == f"{address(wirekey, 'gateway')}/auth/login"
    assert http_get(url).headers["location"].partition("?")[0].endswith(AUTHORIZE_PATH)


def test_a_program_at_an_address_can_log_in_too(wirekey):
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as program:
        assert program.get(f"http://{wirekey.running.gateway}/auth/login").status_code == 200


def test_health_shows_nothing_of_a_login(wirekey):
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
        browser.get(f"{address(wirekey, 'gateway')}/auth/login")
    assert http_get(f"{address(wirekey, 'gateway')}/health").json() == {"status": "ok"}


def test_no_token_code_verifier_or_state_is_in_the_log_or_the_record(wirekey, google):
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
        browser.get(f"{address(wirekey, 'gateway')}/auth/login")
    with httpx.Client(verify=False, timeout=60) as browser:
        url, query = changed(begin(wirekey, browser), state="wrong")
        browser.get(url, params=query)
    secrets = [*google.issued, google.client_secret]
    assert len(secrets) > 6
    places = [path for path in wirekey.folder.rglob("*") if path.is_file() and "google-accounts" not in path.parts]
    assert wirekey.output in places
    for path in places:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path


def test_without_the_backend_a_login_is_refused_with_the_setting(tmp_path):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    running = Wirekey(tmp_path / "off", {"listen": listen})
    try:
        base = f"http://{running.running.gateway}"
        for path in ("/auth/login", "/auth/callback?code=x&state=y"):
            refused = http_get(base + path)
            assert (refused.status_code, refused.json()["error"]) == (403, "backend_not_enabled")
            assert "backends.gemini-oauth-auto.enabled" in refused.json()["error_description"]
        assert http_get(f"{base}/auth/status").json() == NOT_LOGGED_IN
    finally:
        running.stop()


def test_a_running_wirekey_follows_the_commands(wirekey, folder):
    """`wirekey accounts` changes files; nothing needs a restart."""
    from dataclasses import replace

    from wirekey.features.google_accounts.account_files import AccountFiles

    files = AccountFiles(folder)
    with httpx.Client(verify=False, follow_redirects=True, timeout=60) as browser:
        browser.get(f"{address(wirekey, 'gateway')}/auth/login")
    files.change("ann-example.com", lambda old: replace(old, project_id="my-project", project_set=True))
    wait_for(lambda: status(wirekey).get("projectId") == "my-project", "the project")
    files.remove("ann-example.com")
    wait_for(lambda: status(wirekey) == NOT_LOGGED_IN, "no account")
