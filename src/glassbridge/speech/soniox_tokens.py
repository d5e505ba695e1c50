"""What Soniox's tokens amount to: transcripts of utterances, one for each speaker."""

from collections.abc import Iterable
from itertools import groupby

from glassbridge.core.subscriptions import AUTO
from glassbridge.speech import soniox_protocol as wire
from glassbridge.speech.base import Transcript, Want

LONGEST_UTTERANCE_MS = 20_000
"""Captions must not wait for a user who never pauses."""


class TokenUtterances:
    """Makes transcripts of tokens."""

    def __init__(self, want: Want) -> None:
        self._want = want
        self._said: list[wire.Token] = []
        """Final tokens since the last utterance."""
        self._shown = ""

    def take(self, tokens: Iterable[wire.Token]) -> list[Transcript]:
        """The news of an answer: utterances that are final now, then the one that may still change."""
        out, tail = [], []
        for token in tokens:
            if token.text in (wire.END, wire.FIN):
                out += self._end(forced=token.text == wire.FIN)
            elif token.is_final:
                self._said.append(token)
            else:
                tail.append(token)
        if self._is_long():
            out += self._end(forced=False)
        partial = self._transcript([*self._said, *tail], final=False)
        if partial is None:
            self._shown = ""
        elif partial.text != self._shown:
            self._shown = partial.text
            out.append(partial)
        return out

    def _is_long(self) -> bool:
        times = [token.end_ms for token in self._said if token.end_ms is not None]
        begin = next((token.start_ms for token in self._said if token.start_ms is not None), None)
        return bool(times) and begin is not None and times[-1] - begin > LONGEST_UTTERANCE_MS

    def _end(self, *, forced: bool) -> list[Transcript]:
        """One transcript for each speaker. A translation may lag behind the end of what it translates: it is awaited,
        unless everything was asked for now."""
        if self._want.target is not None:
            if not forced and not any(token.translation_status != "original" for token in self._said):
                return []
            turns = [self._said]
        else:
            turns = [list(turn) for _, turn in groupby(self._said, key=lambda token: token.speaker)]
        self._said, self._shown = [], ""
        finals = [self._transcript(turn, final=True) for turn in turns]
        return [final for final in finals if final is not None]

    def _transcript(self, tokens: list[wire.Token], *, final: bool) -> Transcript | None:
        spoken = [token for token in tokens if token.translation_status != "translation"]
        text, original = _join(spoken), None
        if self._want.target is not None:
            text = _join(token for token in tokens if token.translation_status != "original")
            original = _join(token for token in tokens if token.translation_status == "original") or None
        if not text and not original:
            return None
        begins = [token.start_ms for token in spoken if token.start_ms is not None]
        ends = [token.end_ms for token in spoken if token.end_ms is not None]
        sure = [token.confidence for token in spoken if token.confidence is not None]
        first = spoken[0] if spoken else tokens[0]
        return Transcript(
            text=text,
            final=final,
            start_ms=round(min(begins, default=0)),
            end_ms=round(max(ends, default=0)),
            language=first.language if self._want.language == AUTO else None,
            speaker=None if first.speaker is None else str(first.speaker),
            confidence=round(sum(sure) / len(sure), 3) if sure else None,
            original=original,
            metadata={"soniox": {"tokens": [_told(token) for token in tokens]}} if final else None,
        )


def _join(tokens: Iterable[wire.Token]) -> str:
    return "".join(token.text for token in tokens).strip()


def _told(token: wire.Token) -> dict[str, object]:
    """As the original tells its apps."""
    told = {
        "text": token.text,
        "startMs": token.start_ms,
        "endMs": token.end_ms,
        "confidence": token.confidence,
        "isFinal": token.is_final,
        "speaker": token.speaker,
    }
    return {name: value for name, value in told.items() if value is not None}
