"""The benchmark of apps measures what it says: small, with a recogniser that needs no CPU."""

from glassbridge.lab.bench_apps import AppsBench, crowd, table, transcripts


async def test_transcripts_and_raw_audio_of_an_app_beside_its_recogniser() -> None:
    config = AppsBench(recogniser="script", clip="short", rounds=1, apps=4, deaf=1, seconds=1.0)
    said = await transcripts(config, lambda _: None)
    assert said["raw_pcm_bit_exact"]
    assert (said["finals"] >= 2, said["missing"]) == (True, 0)
    assert said["partials"]["recogniser"] > 2
    assert abs(said["partials"]["app"] - said["partials"]["recogniser"]) <= 1, "the newest may be on its way"
    assert said["from_the_first_sample_ms"]["recogniser_p50"] > 200.0
    heard = await crowd(config, lambda _: None)
    assert (heard["alone_ms"]["lost"], heard["with_deaf_ms"]["lost"]) == (0, 0)
    assert "must be <= 1.2" in table({"transcripts": said, "crowd": heard})
