#!/bin/sh
# Makes the clips that the demo and the tests speak: src/glassbridge/lab/clips/*.wav (16 kHz mono PCM16) from the
# sentences in the .txt of the same name, with the voice rms of flite (Debian: apt-get install flite) and a pause after
# each sentence. The sentences were chosen because pocketsphinx reads them without error.
set -eu
cd "$(dirname "$0")/../src/glassbridge/lab/clips"
for text in *.txt; do
    TEXT="$text" python3 - <<'PYTHON'
import os, subprocess, tempfile, wave

text = os.environ["TEXT"]
pause = b"\0\0" * 11_200  # 0.7 s: each sentence becomes a caption of its own
sound = pause[: len(pause) // 2]
for sentence in open(text).read().splitlines():
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", "rms", "-t", sentence, "-o", file.name], check=True)
        with wave.open(file.name) as spoken:
            assert spoken.getparams()[:3] == (1, 2, 16_000), spoken.getparams()
            sound += spoken.readframes(spoken.getnframes()) + pause
with wave.open(text.removesuffix(".txt") + ".wav", "wb") as clip:
    clip.setnchannels(1)
    clip.setsampwidth(2)
    clip.setframerate(16_000)
    clip.writeframes(sound)
print(f"{text.removesuffix('.txt')}.wav: {len(sound) / 32_000:.2f} s")
PYTHON
done
