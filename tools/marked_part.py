"""The part of a page that a tool writes: it stands between two marks."""


def marked(page: str, begin: str, end: str) -> str:
    """What stands between the marks now. Raises ValueError where the page lacks one."""
    return _split(page, begin, end)[1]


def rewritten(page: str, begin: str, end: str, part: str) -> str:
    """The page with another part. Raises ValueError where it lacks a mark."""
    head, _, tail = _split(page, begin, end)
    return f"{head}{begin}\n\n{part.strip()}\n\n{end}{tail}"


def _split(page: str, begin: str, end: str) -> tuple[str, str, str]:
    head, has_begin, rest = page.partition(begin)
    part, has_end, tail = rest.partition(end)
    if not has_begin or not has_end:
        raise ValueError(f"the page lacks {begin} or {end}")
    return head, part, tail
