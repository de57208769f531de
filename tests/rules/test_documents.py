"""Links between documents lead somewhere: the file exists, and so does the heading."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def script(name: str) -> ModuleType:
    """A script of docs/, which lies outside every package."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def documents(root: Path = ROOT) -> list[Path]:
    """Every Markdown file that is part of the project."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "keys").glob("*.md")])


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as the usual renderers make them."""
    plain = FENCE.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(plain)
    }


def dead(page: Path, root: Path) -> list[str]:
    """The links of a page that lead nowhere, and those that lead out of the project."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in LINK.finditer(CODE.sub("", FENCE.sub("", text))):
        link = match[1] or match[2]
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        alive = target.exists() and target.is_relative_to(root)
        if alive and anchor and target.suffix == ".md":
            alive = anchor in anchors(target.read_text(encoding="utf-8"))
        if not alive:
            found.append(link)
    return found


def test_every_link_leads_somewhere() -> None:
    broken = {str(page.relative_to(ROOT)): dead(page, ROOT) for page in documents()}
    assert {page: links for page, links in broken.items() if links} == {}


@pytest.mark.parametrize(
    "link",
    ["nothing.md", "#no-such-heading", "other.md#no-such-heading", "../outside.md", "docs/"],
)
def test_a_dead_link_is_found(link: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "outside.md").write_text("x", encoding="utf-8")
    (root / "other.md").write_text("# Keys, and `halves`\n\n```\n# not a heading\n```\n", encoding="utf-8")
    page = root / "page.md"
    alive = "[a](other.md#keys-and-halves) [b](#here) [c](https://example.org/x) `[d](nothing.md)`\n# Here\n"
    page.write_text(alive, encoding="utf-8")
    assert dead(page, root) == []
    page.write_text(f"{alive}See [this]({link}).\n", encoding="utf-8")
    assert dead(page, root) == [link]


def unlisted(folder: Path) -> list[str]:
    """Decisions that the list lacks, and those that lack a state or a part."""
    index = (folder / "README.md").read_text(encoding="utf-8")
    found = []
    for page in sorted(folder.glob("[0-9]*.md")):
        text = page.read_text(encoding="utf-8")
        parts = all(f"\n## {part}\n" in text for part in ("Context", "Decision", "Consequence"))
        state = re.search(r"^State: (proposed|accepted|replaced by \d{4})$", text, re.MULTILINE)
        named = re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", page.name)
        listed = f"[{page.name[:4]}]({page.name})" in index
        if not (parts and state and named and listed and text.startswith(f"# {page.name[:4]}: ")):
            found.append(page.name)
    return found


def test_every_decision_is_listed_and_has_its_parts() -> None:
    assert unlisted(ROOT / "docs" / "adr") == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("0001-keep-it.md", "## Consequence", "## Results"),
        ("0001-keep-it.md", "State: accepted", "State: fine"),
        ("0001-keep-it.md", "# 0001: ", "# "),
        ("0001_keep_it.md", "", ""),
        ("0002-lose-it.md", "# 0001: ", "# 0002: "),
    ],
)
def test_a_decision_that_is_incomplete_is_found(name: str, old: str, new: str, tmp_path: Path) -> None:
    good = "# 0001: Keep it\n\nState: accepted\n\n## Context\n\n## Decision\n\n## Consequence\n"
    (tmp_path / "README.md").write_text("[0001](0001-keep-it.md)", encoding="utf-8")
    (tmp_path / "0001-keep-it.md").write_text(good, encoding="utf-8")
    assert unlisted(tmp_path) == []
    (tmp_path / name).write_text(good.replace(old, new), encoding="utf-8")
    assert unlisted(tmp_path) == [name]
