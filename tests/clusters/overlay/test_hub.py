from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tradewind.clusters.overlay import Hub, Overlay
from tradewind.clusters.overlay.keys import public_key
from tradewind.errors import CapacityError, IntegrityError, NotFoundError, SpecError, TradewindError


def applied(wireguard: Path) -> str:
    return (wireguard / "applied").read_text()


def test_admitted_node_is_known_to_wireguard_before_its_machine_is_asked_for(hub: Hub, wireguard: Path) -> None:
    ticket = hub.admit("aws/i-1")
    assert ticket.address == "10.99.0.2"
    assert f"PublicKey = {public_key(ticket.private_key)}\nAllowedIPs = 10.99.0.2/32\n" in applied(wireguard)


def test_private_key_of_a_node_is_not_kept(hub: Hub) -> None:
    ticket = hub.admit("aws/i-1")
    assert [path for path in hub.folder.iterdir() if ticket.private_key in path.read_text()] == []
    assert ticket.private_key not in repr(ticket)


def test_file_with_the_hubs_key_is_its_owners_alone(hub: Hub) -> None:
    hub.admit("aws/i-1")
    assert (hub.folder / "wg0.conf").stat().st_mode & 0o777 == 0o600
    assert hub.folder.stat().st_mode & 0o777 == 0o700


def test_ticket_says_how_to_join(hub: Hub) -> None:
    text = hub.admit("aws/i-1").configuration()
    assert f"PublicKey = {hub.public_key()}" in text
    assert "Endpoint = head.example.org:51820" in text
    assert "AllowedIPs = 10.99.0.0/28" in text


def test_another_process_knows_the_same_peers(hub: Hub) -> None:
    hub.admit("aws/i-1")
    hub.admit("gcp/b")
    again = Hub(hub.overlay, hub.folder)
    assert [(peer.name, peer.address) for peer in again.peers()] == [("aws/i-1", "10.99.0.2"), ("gcp/b", "10.99.0.3")]
    assert again.public_key() == hub.public_key()


def test_node_is_reached_at_the_address_of_its_name(hub: Hub) -> None:
    assert hub.address_of("aws/i-1") is None
    assert hub.admit("aws/i-1").address == hub.address_of("aws/i-1")


def test_setting_up_again_changes_nothing(hub: Hub) -> None:
    hub.admit("aws/i-1")
    before = hub.public_key(), hub.peers()
    hub.create()
    assert (hub.public_key(), hub.peers()) == before


def test_ticket_serves_another_node_when_its_own_has_not_come(hub: Hub, wireguard: Path) -> None:
    hub.admit("a")
    ticket = hub.admit("b")
    before = applied(wireguard)
    assert hub.rename(ticket, "c").configuration() == ticket.configuration()
    assert [(peer.name, peer.address) for peer in hub.peers()] == [("a", "10.99.0.2"), ("c", "10.99.0.3")]
    assert applied(wireguard) == before
    with pytest.raises(NotFoundError, match="b is not in the overlay"):
        hub.rename(ticket, "d")


def test_dismissed_node_is_let_in_no_more(hub: Hub, wireguard: Path) -> None:
    hub.admit("a")
    hub.admit("b")
    assert hub.dismiss("a")
    assert not hub.dismiss("a")
    assert "# a\n" not in applied(wireguard)
    assert [peer.name for peer in hub.peers()] == ["b"]


def test_address_that_ray_holds_to_be_alive_is_not_given_again(hub: Hub) -> None:
    alive = {f"10.99.0.{number}" for number in range(2, 14)}
    assert hub.admit("a", alive=alive).address == "10.99.0.14"
    hub.dismiss("a")
    with pytest.raises(CapacityError, match="are taken"):
        hub.admit("b", alive=alive | {"10.99.0.14"})
    assert hub.peers() == []


def test_address_of_a_dismissed_node_comes_back_last(hub: Hub) -> None:
    first = hub.admit("a").address
    hub.dismiss("a")
    assert hub.admit("b").address != first


def test_name_in_use_is_refused(hub: Hub) -> None:
    hub.admit("a")
    with pytest.raises(SpecError, match="a is in the overlay already"):
        hub.admit("a")


@pytest.mark.parametrize("name", ["", "two words", "a#b", "a\n[Peer]"])
def test_name_that_would_break_the_file_is_refused(hub: Hub, name: str) -> None:
    with pytest.raises(SpecError, match="cannot be the name of a node"):
        hub.admit(name)


def test_launches_at_the_same_time_get_different_addresses(hub: Hub, wireguard: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        tickets = list(pool.map(hub.admit, "abcdefgh"))
    assert len({ticket.address for ticket in tickets}) == 8
    assert applied(wireguard).count("[Peer]") == 8


def test_node_that_wireguard_does_not_take_is_not_kept(hub: Hub, wireguard: Path) -> None:
    hub.admit("a")
    (wireguard / "down").touch()
    with pytest.raises(TradewindError, match=r"syncconf wg0 .* failed: Unable to modify interface: No such device"):
        hub.admit("b")
    assert [peer.name for peer in hub.peers()] == ["a"]


def test_when_each_peer_was_heard_is_told_by_address(hub: Hub) -> None:
    hub.admit("a")
    hub.admit("b")
    assert hub.handshakes() == {"10.99.0.2": 0, "10.99.0.3": 100}


def test_machine_that_is_no_hub_is_said(wireguard: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="this machine is no hub"):
        Hub(Overlay(subnet="10.99.0.0/24", endpoint="head"), tmp_path / "none").admit("a")


def test_damaged_file_is_said(hub: Hub) -> None:
    (hub.folder / "wg0.conf").write_text("")
    with pytest.raises(IntegrityError, match="has no private key"):
        hub.admit("a")


def test_missing_program_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(NotFoundError, match="WireGuard's tools are not installed"):
        hub.admit("a")
