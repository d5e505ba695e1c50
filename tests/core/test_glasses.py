"""What is known of the user's glasses."""

from glassbridge.core.glasses import MODELS, PARTS, Glasses


def test_only_what_is_new_is_told() -> None:
    glasses = Glasses()
    assert glasses.learn({"modelName": "Mentra Live", "batteryLevel": 50}) == {
        "modelName": "Mentra Live",
        "batteryLevel": 50,
        "connected": True,
    }
    assert glasses.learn({"modelName": "Mentra Live", "batteryLevel": 49}) == {"batteryLevel": 49}
    assert glasses.learn({}) == {}


def test_glasses_that_are_not_here_can_do_nothing() -> None:
    glasses, models = Glasses(), []
    for told in ({}, {"modelName": "Mentra Live"}, {"connected": False}, {"connected": True}, {"modelName": ""}):
        glasses.learn(told)
        models.append((glasses.model, glasses.capabilities is MODELS["Mentra Live"]))
    here, nothing = ("Mentra Live", True), (None, False)
    assert models == [nothing, here, nothing, here, nothing]


def test_a_model_that_nobody_knows_has_a_name_only() -> None:
    glasses = Glasses()
    glasses.learn({"modelName": "Spectacles of tomorrow"})
    assert (glasses.model, glasses.capabilities) == ("Spectacles of tomorrow", None)


def test_each_model_says_of_each_part_whether_it_is_there() -> None:
    for model in MODELS.values():
        for part in PARTS:
            flag = "hasIMU" if part == "imu" else f"has{part.title()}"
            assert isinstance(model[flag], bool)
            assert part in model
            assert model[flag] or model[part] is None
