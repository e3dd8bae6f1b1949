#!/bin/bash
# Brings up this node's end of the overlay, and stays for as long as it is up; started again by whoever supervises it.
#
#   tunnel.sh ADDRESS/PREFIX MTU [FOLDER]
#
# FOLDER holds wg0.conf, for `wg setconf`, and firewall.nft. The kernel's WireGuard is taken where there is one, else
# wireguard-go, which needs /dev/net/tun.
set -euo pipefail
address=$1 mtu=$2 folder=${3:-/etc/tradewind/overlay} interface=wg0
configuration=$folder/$interface.conf

remove() { ip link delete "$interface" 2>/dev/null || true; }

value() { sed -n "s/^$1 = //p" "$configuration" | head -n 1; }

# The kernel's device, or that of a wireguard-go in the background.
create() {
  if ip link add "$interface" type wireguard 2>/dev/null; then return; fi
  WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error wireguard-go "$interface" &
  for _ in {1..100}; do
    if wg show "$interface" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "neither the kernel nor wireguard-go makes $interface" >&2
  exit 1
}

# A name of the head may come to mean another address; a tunnel that hears nothing asks again.
find_head() {
  local heard
  heard=$(wg show "$interface" latest-handshakes | cut -f 2)
  if [ $(($(date +%s) - ${heard:-0})) -gt 150 ]; then
    wg set "$interface" peer "$(value PublicKey)" endpoint "$(value Endpoint)" || true
  fi
}

trap 'exit 0' TERM INT
trap 'remove; kill $(jobs -p) 2>/dev/null || true' EXIT

nft -f "$folder/firewall.nft"
remove
create
# On a fresh interface there are no tunnels that setconf could cut.
wg setconf "$interface" "$configuration"
ip address replace "$address" dev "$interface"
ip link set "$interface" mtu "$mtu" up
if [ -n "$(value ListenPort)" ]; then sysctl -qw net.ipv4.ip_forward=1; fi
echo "$interface is up with $address"

while wg show "$interface" >/dev/null 2>&1; do
  if [ -n "$(value Endpoint)" ]; then find_head; fi
  sleep 5 &
  wait $! || true
done
echo "$interface is gone" >&2
exit 1
