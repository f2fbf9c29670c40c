"""The documents tell the truth: links lead somewhere, the README's example runs, named extras and commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    folders = ("tasks", "data", "configs", "model_zoo", "docs")
    return [*ROOT.glob("*.md"), *(p for folder in folders for p in (ROOT / folder).rglob("*.md"))]


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    assert len(pages()) >= 5
    broken = []
    for page in pages():
        for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)


def test_the_readme_examples_run(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(examples[0].strip().splitlines()) <= 12
    for example in examples:
        code = example.replace('"data/samples/', f'"{ROOT}/data/samples/')
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "kitchen.png").is_file()


def test_the_readme_says_on_its_first_screen_what_to_type() -> None:
    first = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30])
    assert "make demo" in first and "make test" in first


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`visgen ([a-z]+)", text))
    helped = subprocess.run(
        [sys.executable, "-c", "from visgen.cli import main; main()", "--help"], capture_output=True, text=True
    )
    assert helped.returncode == 0, helped.stderr
    assert named and not [c for c in named if not re.search(rf"\b{c}\b", helped.stdout)]


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"install", "demo", "test", "lint", "bench"} <= targets
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert named <= targets, page.name


def test_every_extra_that_a_message_names_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    sources = [*(ROOT / "visgen").rglob("*.py"), *pages()]
    named = {(e, p.name) for p in sources for e in re.findall(r"visgen\[(\w+)\]", p.read_text(encoding="utf-8"))}
    assert not {pair for pair in named if pair[0] not in extras}


def test_continuous_integration_runs_the_documented_command() -> None:
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o111
