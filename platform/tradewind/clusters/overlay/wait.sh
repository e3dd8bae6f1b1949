#!/bin/bash
# Waits until the head answers through the tunnel, and says what is missing when it does not.
#
#   wait.sh HEAD_ADDRESS PORT TIMEOUT_S
set -uo pipefail
head=$1 port=$2 timeout_s=$3 interface=wg0

# Opens a connection, or says why it cannot: the kernel's words in English, nothing when nobody answers.
connect() { LC_ALL=C timeout 2 bash -c "exec 3<>/dev/tcp/$head/$port" 2>&1; }

for ((end = SECONDS + timeout_s; SECONDS < end; )); do
  if said=$(connect); then exit 0; fi
  sleep 0.5
done

if ! ip link show dev "$interface" >/dev/null 2>&1; then
  echo "overlay: there is no $interface on this node after $timeout_s s; see journalctl -u tradewind-tunnel and cloud-init status"
elif [[ $said == *refused* ]]; then
  echo "overlay: the head $head is there, and nothing listens on its port $port after $timeout_s s; has Ray started on it?"
else
  echo "overlay: the head $head does not answer through $interface after $timeout_s s; is its UDP port open to this node, and is this node among its peers?"
fi >&2
exit 1
