"""What was installed is compared with the RECORD of its wheel: each file, each added file, each compiled file."""

import base64
import compileall
import hashlib
import json
import os
import py_compile
import zipfile
from importlib.metadata import PathDistribution, version

import pytest

from wirekey.features.version.installed import Comparison, compared, differing_packages, wheel_record

FILES = {
    "wirekey/__init__.py": "__version__ = '1'\n",
    "wirekey/core/price.py": "def price():\n    return 1\n",
    "wirekey_rego/__init__.py": "",
    "wirekey_simulator/__init__.py": "",
    "wirekey-1.dist-info/METADATA": "Name: wirekey\nVersion: 1\n",
    "wirekey-1.dist-info/sboms/wirekey.cdx.json": json.dumps(
        {"components": [{"name": "click", "version": version("click")}, {"name": "absent-package", "version": "1"}]}
    ),
}


def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


RECORD = "".join(f"{name},sha256={digest(text)},{len(text)}\n" for name, text in FILES.items())


@pytest.fixture
def site(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "wirekey-1.dist-info" / "RECORD").write_text(
        f"{RECORD}../../bin/wirekey,sha256=x,1\nwirekey-1.dist-info/INSTALLER,sha256=x,1\n"
        "wirekey-1.dist-info/RECORD,,\nwirekey/__pycache__/__init__.cpython-313.pyc,,\n"
    )
    return tmp_path


def comparison(site, wheel=None):
    return compared(PathDistribution(site / "wirekey-1.dist-info"), wheel)


def test_an_unchanged_installation_has_no_problem(site):
    assert comparison(site) == Comparison(len(FILES), 1)


def test_files_that_the_installer_compiles_are_no_problem(site):
    for level in (0, 1, 2):
        compileall.compile_dir(site, quiet=1, optimize=level)
    assert comparison(site).problems == ()


@pytest.mark.parametrize("name", list(FILES))
def test_a_changed_file_is_found(site, name):
    with (site / name).open("a") as file:
        file.write("\n")
    assert comparison(site).problems == (f"{name} was changed.",)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".json")])
def test_a_missing_file_is_found(site, name):
    (site / name).unlink()
    assert comparison(site).problems == (f"{name} is missing.",)


def test_a_missing_bill_of_materials_is_found(site):
    (site / "wirekey-1.dist-info/sboms/wirekey.cdx.json").unlink()
    assert comparison(site).problems == (
        "wirekey-1.dist-info/sboms/wirekey.cdx.json is missing.",
        "There is no bill of materials.",
    )


@pytest.mark.parametrize("name", ["wirekey/core/extra.py", "wirekey_rego/x.so", "wirekey/__pycache__/notes.txt"])
def test_an_added_file_is_found(site, name):
    (site / name).parent.mkdir(exist_ok=True)
    (site / name).write_text("")
    assert comparison(site).problems == (f"{name} was added.",)


def test_compiled_code_of_another_source_is_found_though_its_head_fits(site):
    source = site / "wirekey/core/price.py"
    cached = py_compile.compile(source)
    times = source.stat()
    source.write_text(FILES["wirekey/core/price.py"].replace("1", "2"))
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    py_compile.compile(source)
    source.write_text(FILES["wirekey/core/price.py"])
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    name = os.path.relpath(cached, site)
    assert comparison(site).problems == (f"{name} is not the compiled form of its source.",)


@pytest.mark.parametrize("content", [b"", b"x" * 16, b"x" * 40])
def test_a_compiled_file_that_cannot_be_read_is_found(site, content):
    cached = site / os.path.relpath(py_compile.compile(site / "wirekey/core/price.py"), site)
    cached.write_bytes(content)
    assert comparison(site).problems == (f"{cached.relative_to(site)} is not the compiled form of its source.",)


def test_an_installation_without_a_record_is_a_problem(site):
    (site / "wirekey-1.dist-info" / "RECORD").unlink()
    assert comparison(site) == Comparison(0, problems=("The installation has no RECORD.",))


def test_a_wheel_finds_a_change_that_the_installed_record_hides(site, tmp_path_factory):
    wheel = tmp_path_factory.mktemp("wheel") / "wirekey-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("wirekey-1.dist-info/RECORD", RECORD)
    (site / "wirekey/core/price.py").write_text("changed\n")
    record = site / "wirekey-1.dist-info" / "RECORD"
    record.write_text(record.read_text().replace(digest(FILES["wirekey/core/price.py"]), digest("changed\n")))
    assert comparison(site).problems == ()
    assert comparison(site, wheel).problems == ("wirekey/core/price.py was changed.",)


@pytest.mark.parametrize(
    "names", [[], ["other-1.dist-info/RECORD"], ["wirekey-1.dist-info/RECORD", "x.dist-info/RECORD"]]
)
def test_another_archive_is_not_a_wheel_of_wirekey(tmp_path, names):
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, RECORD)
    with pytest.raises(ValueError, match=r"x\.whl is not a wheel of Wirekey"):
        wheel_record(wheel)


def test_a_file_that_is_no_archive_is_not_a_wheel(tmp_path):
    (tmp_path / "x.whl").write_text("x")
    with pytest.raises(ValueError, match=r"x\.whl is not a wheel"):
        wheel_record(tmp_path / "x.whl")


def test_packages_of_another_version_are_named_and_one_of_several_versions_is_enough():
    installed = version("click")
    bill = {"components": [{"name": "click", "version": each} for each in ("0.1", "0.2")]}
    assert differing_packages(json.dumps(bill)) == (
        1,
        [f"click is {installed}; the release was tested with 0.1 or 0.2."],
    )
    bill["components"].append({"name": "click", "version": installed})
    assert differing_packages(json.dumps(bill)) == (1, [])
