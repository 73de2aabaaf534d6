"""The page: everything it refers to is served, nothing in it needs more than the policy allows, and it is small."""

import asyncio
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from service.api.app import WEB, create_app
from service.settings import Settings

MOST_BYTES = 150_000
POLICY = "default-src 'self'"
CONTENT_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGES = sorted(WEB.rglob("*.html"))
VENDOR = WEB / "vendor"
OWN_SCRIPTS = sorted(path for path in WEB.rglob("*.js") if VENDOR not in path.parents)
OWN_FILES = sorted(path for path in WEB.rglob("*") if path.is_file() and VENDOR not in path.parents)
PARSES_TEXT = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML"
    r"|\beval\b|\bFunction\(|srcdoc|javascript:"
)
EXTERNAL = re.compile(r"""(?:https?:)?//[\w-]+\.[\w.-]+""")
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
IMPORT = re.compile(r"""^(?:import|export)\b[^;]*?from\s+["']([^"']+)["'];""", re.MULTILINE)


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes, and whether a script or style has text of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if data.strip() and self.cdata_elem is not None:
            self.inline.append(data)

    @classmethod
    def of(cls, text: str) -> "Elements":
        elements = cls()
        elements.feed(text)
        return elements

    def references(self) -> list[str]:
        """Give every address that the browser loads for this page."""
        loaded = [attributes.get("src") or attributes.get("href", "") for tag, attributes in self.found if tag != "a"]
        return [address for address in loaded if address]


Get = Callable[[str], httpx.Response]


@pytest.fixture
def get(tmp_path: Path) -> Iterator[Get]:
    """The application in this process, asked as a browser would."""
    app = create_app(Settings(data_dir=tmp_path))

    async def ask(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            return await client.get(path)

    yield lambda path: asyncio.run(ask(path))
    app.state.system.database.dispose()


def test_the_root_is_the_page_under_the_policy(get: Get) -> None:
    reply = get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith(POLICY)
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.text == (WEB / "index.html").read_text(encoding="utf-8")


def test_every_file_the_page_refers_to_is_served_with_its_type(get: Get) -> None:
    addresses = Elements.of(get("/").text).references()
    assert len(addresses) > 5
    for address in addresses:
        reply = get(address)
        assert reply.status_code == 200, address
        assert reply.headers["content-type"] == CONTENT_TYPES[Path(address).suffix], address
        assert reply.headers["content-security-policy"].startswith(POLICY), address


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fcli.py", "/static/"])
def test_no_path_leads_out_of_the_folder(get: Get, path: str) -> None:
    assert get(path).status_code == 404


def test_every_module_is_preloaded_and_every_import_names_one() -> None:
    addresses = Elements.of((WEB / "index.html").read_text(encoding="utf-8")).references()
    listed = {Path(address).name for address in addresses if address.endswith(".js")} - {"uPlot.iife.min.js"}
    assert listed == {path.name for path in OWN_SCRIPTS}
    for path in OWN_SCRIPTS:
        for target in IMPORT.findall(path.read_text(encoding="utf-8")):
            assert target.startswith("./"), f"{path.name} imports {target}"
            assert (path.parent / target).is_file(), f"{path.name} imports {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_an_inline_script_style_or_handler(page: Path) -> None:
    elements = Elements.of(page.read_text(encoding="utf-8"))
    assert elements.inline == []
    for tag, attributes in elements.found:
        assert tag != "style"
        assert tag != "base"
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        assert tag != "script" or attributes["src"].startswith("/static/")


@pytest.mark.parametrize("script", OWN_SCRIPTS, ids=lambda script: script.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert not PARSES_TEXT.findall(text)
    assert 'setAttribute("style"' not in text
    assert not re.findall(r"\bstyle:|\bon(?!ce\b)[a-z]+:", text), "an attribute that the policy blocks"


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(SVG_NAMESPACE, "")
    assert not EXTERNAL.findall(text)
    assert "@import" not in text


def test_the_whole_page_is_small() -> None:
    assert sum(path.stat().st_size for path in WEB.rglob("*") if path.is_file()) < MOST_BYTES


def test_what_is_vendored_says_where_it_is_from() -> None:
    folder = VENDOR / "uplot"
    version = re.search(r"\(v([\d.]+)\)", (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")[:200])
    assert version is not None
    assert f"uplot@{version[1]}" in (folder / "VENDORED.md").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text(encoding="utf-8")
