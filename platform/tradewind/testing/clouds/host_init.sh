#!/bin/bash
# PID 1 of a host: a home, /tmp, /run, /etc and /dev/shm of its own, then sshd. Arguments: the folder with what the host
# is made of (authorized_keys, environment, host_key, startup), its address, its name, and the paths that /tmp must go on
# showing.
set -eu
made_of=$1 address=$2 name=$3
shift 3
hostname "$name"
mount --make-rprivate /
staging=$made_of/root # on a path of its own, so that all is in place before /tmp and /run are covered
mkdir -p "$staging"
mount -t tmpfs -o mode=755 tmpfs "$staging"
mkdir -p "$staging"/{sshd,home/.ssh,tmp}
chmod 700 "$staging/home" "$staging/home/.ssh"
chmod 1777 "$staging/tmp"
install -m 600 "$made_of/authorized_keys" "$staging/home/.ssh/authorized_keys"
install -m 600 "$made_of/host_key" "$staging/host_key"
cp "$made_of/startup" "$staging/startup"
install -D -t "$staging/bin" "$(dirname "$0")"/programs/*
install -D "$staging/bin/uv" "$staging/home/.local/bin/uv"
mkdir -p "$staging/systemd/system" # how programs see that systemd runs
cp "$made_of/environment" "$staging/home/.bashrc"
echo 'case $PATH in /run/bin:*) ;; *) export PATH=/run/bin:$PATH ;; esac' >>"$staging/home/.bashrc"
echo '. ~/.bashrc' >"$staging/home/.bash_profile"
cp -a /etc "$staging/etc"
printf '127.0.0.1 localhost\n%s %s\n169.254.169.254 metadata.google.internal\n' "$address" "$name" >"$staging/etc/hosts"
# Root by the names that clouds give their first user, all with the same home.
for user in root ubuntu ec2-user azureuser ray; do echo "$user:x:0:0::/run/home:/bin/bash"; done >"$staging/etc/passwd"
grep -v '^root:' /etc/passwd >>"$staging/etc/passwd"
for path in "$@"; do
    mkdir -p "$staging$path"
    mount --bind "$path" "$staging$path"
done
mount --rbind "$staging" /run
mount --rbind /run/tmp /tmp
mount --bind /run/etc /etc
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
until [ -n "$(ip -4 addr show dev eth0 2>/dev/null)" ]; do sleep 0.02; done
cd /
touch /run/up
/usr/sbin/sshd -D -e -f /dev/null -h /run/host_key -o ListenAddress="$address" -o UsePAM=no -o PidFile=none \
    -o PermitRootLogin=prohibit-password -o StrictModes=no -o AuthorizedKeysFile=.ssh/authorized_keys \
    -o MaxStartups=50 -o Subsystem="sftp internal-sftp" &
PATH=/run/bin:$PATH bash /run/startup &
# Orphans become children of PID 1. bash takes them off the table when they end, sshd in this place would not, and
# `ray stop` waits for processes to leave it.
while :; do wait || true; sleep 1; done
