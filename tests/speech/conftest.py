"""On a machine that is busy with other things recognisers take their time; how long is no matter of these tests."""

import pytest

from glassbridge.speech import process, soniox
from tests.support.patience import patient


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (process, soniox):
        monkeypatch.setattr(module, "FINISH_TIMEOUT", 60.0)
    monkeypatch.setattr(process, "START_TIMEOUT", 60.0)
    monkeypatch.setattr(process, "SILENT", patient(process.SILENT))
