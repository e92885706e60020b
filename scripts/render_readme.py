"""Write the table of recipes into README.md, between its markers, from the registry and the bibliography.

python scripts/render_readme.py            # writes README.md
python scripts/render_readme.py --check    # exit status 1 if README.md is not as it would be written
"""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

from equilibria.recipes import RECIPES, Recipe, citation

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- recipes -->", "<!-- /recipes -->"

ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303", "v": "\u030c", "c": "\u0327"}
LETTERS = {r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\ss": "ß", r"\aa": "å", r"\ae": "æ", r"\i": "i"}


def plain(tex: str) -> str:
    """A BibTeX value as text: accents composed, braces gone."""
    tex = re.sub(r"\\(['`\"^~]|[vc](?![a-z]))\s*\{?\\?([A-Za-z])\}?", lambda m: m[2] + ACCENTS[m[1]], tex)
    for macro, letter in LETTERS.items():
        tex = re.sub(re.escape(macro) + r"(?![A-Za-z])\s?", letter, tex)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", tex))


def fields(key: str) -> dict[str, str]:
    """The fields of a bibliography entry."""
    return dict(re.findall(r"^\s*(\w+) = \{(.*)\},$", citation(key), flags=re.MULTILINE))


def paper(row: Recipe) -> str:
    """Authors and year of a recipe's paper, linked to where it can be read."""
    entry = fields(row.cite)
    authors = entry["author"].split(" and ")
    first = plain(authors[0].split(",")[0])
    second = plain(authors[1].split(",")[0]) if len(authors) == 2 else ""
    who = f"{first} & {second}" if second else f"{first} et al." if len(authors) > 2 else first
    named = f"{who} {entry['year']}"
    if "eprint" in entry:
        return f"[{named}](https://arxiv.org/abs/{entry['eprint']})"
    return f"[{named}]({entry['url']})" if "url" in entry else named


def table() -> str:
    """The recipes as a Markdown table, in the order of the registry."""

    def cell(text: str) -> str:
        return text.replace("|", r"\|")

    rows = [f"| `{r.name}` | {cell(r.about)} | {paper(r)}, {cell(r.source)} |" for r in RECIPES.values()]
    return "\n".join(["| recipe | what it is | from |", "|---|---|---|", *rows])


def rendered(text: str) -> str:
    """The text with the table between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"README.md needs {BEGIN} and, after it, {END}, once each")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    text = README.read_text(encoding="utf-8")
    wanted = rendered(text)
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("README.md: the table of recipes is not that of the registry; run python scripts/render_readme.py")
        return int(text != wanted)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
