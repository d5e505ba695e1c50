"""The benchmark of recognisers measures what it says: small, and by the default engine only."""

from pathlib import Path

import numpy as np
import pytest

from glassbridge.lab import bench_product, bench_speech, clips
from glassbridge.lab.bench_speech import SpeechBench, in_condition, measure, recordings, table
from glassbridge.lab.sounds import mixed, pink, sound_of
from glassbridge.runtime.errors import UserError
from tests.support.patience import patient


async def test_words_delays_and_cost_of_the_default_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_speech, "CROWD_SECONDS", 6.0)
    report = await measure(SpeechBench(engines=("moonshine",), conditions=("clean",), crowds=False), lambda _: None)
    found = report["engines"]["moonshine"]
    assert found["wer"] == {"clean": 0.0}
    assert 0.0 < found["first_partial_s"] < patient(5.0)
    assert 0.3 < found["final_s"] < patient(5.0)
    assert 0.0 < found["cpu"] < patient(1.0)
    assert 50 < found["memory_mb"] < 500
    shown = table(report)
    assert "| word error rate, clean | 0.0 % |" in shown
    assert "| 29 words, 2 recordings | moonshine |" in shown


@pytest.mark.slow
async def test_through_the_whole_product_words_are_those_of_the_engine() -> None:
    report = await bench_product.measure(bench_product.ProductBench(conditions=("clean",)), lambda _: None)
    assert report == {"words": 29, "conditions": {"clean": {"engine_wrong": 0, "product_wrong": 0, "differ": 0}}}
    assert "| clean | 0 | 0 | 0 |" in bench_product.table(report)


def test_noise_is_as_loud_as_it_says() -> None:
    speech = (0.1 * np.sin(np.arange(48_000) / 5) * 32_768).astype("<i2").tobytes()
    for ratio in (10.0, 5.0):
        noise = sound_of(mixed(speech, pink(48_000), ratio)) - sound_of(speech)
        found = 10 * np.log10(np.mean(sound_of(speech) ** 2) / np.mean(noise**2))
        assert found == pytest.approx(ratio, abs=0.2)


def test_a_folder_of_recordings_is_taken_and_one_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sound file"):
        recordings([tmp_path])
    (tmp_path / "one.wav").write_bytes(clips.wav("short").read_bytes())
    (tmp_path / "one.txt").write_text("Take 1 picture, of the river.")
    *_, last = recordings([tmp_path])
    assert (last.name, last.words) == ("one", ("take", "one", "picture", "of", "the", "river"))
    found = recordings([])
    for condition in ("pink 10 dB", "babble 5 dB"):
        noisy = in_condition(found[1], condition, [found[0].pcm])
        assert len(noisy) == len(in_condition(found[1], "clean", []))
        assert noisy == in_condition(found[1], condition, [found[0].pcm]), "another noise each time"
