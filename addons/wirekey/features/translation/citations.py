"""Citations of web sources: from each provider's form into OpenAI's `url_citation`.

Sources without a URL, such as pages of a document that the request holds, have no counterpart there and are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey.features.translation import neutral as n

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


type Json = dict[str, object]

MOST_CITATIONS = 1000


def web_citations(found: Any, start: int | None = None, end: int | None = None) -> tuple[n.Citation, ...]:
    """Return the citations of values with `url` (or `uri`) and `title`. Never raises."""
    cited = []
    for one in (found if isinstance(found, list) else [])[:MOST_CITATIONS]:
        if isinstance(one, dict):
            url, title = one.get("url") or one.get("uri"), one.get("title")
            if isinstance(url, str) and url:
                cited.append(n.Citation(url, title if isinstance(title, str) else "", start, end))
    return tuple(cited)


def converse_citations(found: Any) -> tuple[n.Citation, ...]:
    """Return the citations of Converse that have a place in the web."""
    webs = []
    for one in found if isinstance(found, list) else []:
        location = one.get("location") if isinstance(one, dict) else None
        if isinstance(location, dict) and isinstance(web := location.get("web"), dict):
            webs.append({"url": web.get("url"), "title": one.get("title")})
    return web_citations(webs)


def openai_citations(found: Any) -> tuple[n.Citation, ...]:
    """Return the citations of OpenAI's annotations, in the form of Chat Completions or of Responses."""
    cited: list[n.Citation] = []
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict) and one.get("type") == "url_citation":
            inner = one.get("url_citation")
            members = inner if isinstance(inner, dict) else one
            cited += web_citations([members], _index(members.get("start_index")), _index(members.get("end_index")))
    return tuple(cited)


def grounding_citations(metadata: Any, text: str | None = None) -> tuple[n.Citation, ...]:
    """Return the citations of Gemini's `groundingMetadata`.

    With the whole text, each has the place that it supports: Google counts it in bytes of UTF-8.
    """
    chunks = metadata.get("groundingChunks") if isinstance(metadata, dict) else None
    webs = [one.get("web") if isinstance(one, dict) else None for one in chunks] if isinstance(chunks, list) else []
    if text is None or not isinstance(supports := metadata.get("groundingSupports"), list):
        return web_citations(webs)
    data = text.encode("utf-8", "replace")
    cited: list[n.Citation] = []
    for support in supports[:MOST_CITATIONS]:
        segment = support.get("segment") if isinstance(support, dict) else None
        members = segment if isinstance(segment, dict) else {}
        start, end = _index(members.get("startIndex")) or 0, _index(members.get("endIndex"))
        places = support.get("groundingChunkIndices") if isinstance(support, dict) else None
        for place in places if isinstance(places, list) else []:
            if (at := _index(place)) is not None and at < len(webs):
                cited += web_citations([webs[at]], _characters(data, start), _characters(data, end))
    return tuple(cited) or web_citations(webs)


def _index(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _characters(data: bytes, place: int | None) -> int | None:
    return None if place is None else len(data[:place].decode("utf-8", "ignore"))


def annotation(citation: n.Citation, start: int, end: int) -> Json:
    """Return an annotation of Responses. `start` and `end` are those of the block, in characters."""
    first = start if citation.start is None else start + citation.start
    last = end if citation.end is None else min(start + citation.end, end)
    place = {"start_index": first, "end_index": last}
    return {"type": "url_citation", "url": citation.url, "title": citation.title, **place}


def chat_annotation(citation: n.Citation, start: int, end: int) -> Json:
    """Return an annotation of Chat Completions."""
    members = annotation(citation, start, end)
    return {"type": members.pop("type"), "url_citation": members}


def chat_annotations(blocks: Iterable[n.Block]) -> Iterator[Json]:
    """Yield the annotations of texts that are one after the other in one message."""
    start = 0
    for block in blocks:
        if isinstance(block, n.Text):
            end = start + len(block.text)
            yield from (chat_annotation(citation, start, end) for citation in block.annotations)
            start = end
