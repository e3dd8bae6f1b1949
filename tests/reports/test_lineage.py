from __future__ import annotations

from dataclasses import replace

from tradewind.reports import Story, lineage_of


def test_chain_goes_from_dataset_to_endpoint_with_ids_and_times(story: Story) -> None:
    links = lineage_of(story)
    run = story.start.run
    assert [link.kind for link in links] == ["dataset", "run", "checkpoint", "model", "endpoint"]
    assert [link.id for link in links] == [
        "dataset:pystdlib@1", f"run:{run}", f"checkpoint:{run}/600", "model:pystdlib@3", "endpoint:chat/1",
    ]  # fmt: skip
    times = [link.created_at for link in links if link.created_at]
    assert times == sorted(times)
    assert links[3].note == "@prod"


def test_missing_links_say_so(story: Story) -> None:
    links = lineage_of(replace(story, checkpoints=(), model=None, endpoint=None))
    assert [link.id for link in links[2:]] == [None, None, None]
    assert [link.note for link in links[2:]] == ["none yet", "not registered", "not served"]
