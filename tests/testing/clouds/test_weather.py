"""What befalls a cloud, as tests set it."""

from __future__ import annotations

from tradewind.testing.clouds.weather import Weather


def test_only_what_is_sold_out_is_refused() -> None:
    weather = Weather(sold_out={"us-west-2 m5.large spot"})
    assert not weather.has("us-west-2", "m5.large", "spot")
    assert weather.has("us-west-2", "m5.large", "on_demand")
    assert weather.has("us-east-1", "m5.large", "spot")


def test_so_many_launches_are_lost_and_no_more() -> None:
    weather = Weather(lost_launches=2)
    assert [weather.loses_launch("west") for _ in range(3)] == [True, True, False]


def test_place_of_a_lost_launch_is_silent_afterwards_and_no_other() -> None:
    weather = Weather(lost_launches=1, silence_s=3600)
    assert weather.answers()
    weather.loses_launch("west")
    assert not weather.answers("west")
    assert not weather.answers()
    assert weather.answers("east")


def test_cloud_that_is_down_answers_nothing() -> None:
    assert not Weather(is_down=True).answers()


def test_weather_travels_as_json() -> None:
    told, heard = Weather({"a b spot"}, is_down=True, lost_launches=3, silence_s=2.5), Weather()
    heard.change(told.to_json())
    assert heard == told
