"""What a page is made of, read back from its text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "input", "br", "link", "img", "hr", "wbr"}


class Outline(HTMLParser):
    """Checks that tags close in order; collects ids, references and what a page may load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.loads: list[str] = []
        self.unlabelled = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"] or "")
        self.targets += [found[k] or "" for k in ("aria-controls", "aria-labelledby") if k in found]
        self.targets += [(found["href"] or "")[1:]] if (found.get("href") or "").startswith("#") else []
        self.loads += [found[k] or "" for k in ("src", "href") if k in found and not (found[k] or "").startswith("#")]
        if tag == "svg" and "aria-label" not in found and "aria-hidden" not in found:
            self.unlabelled += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "svg":
            self.handle_starttag(tag, attrs)
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser
