#!/bin/sh
# Runs mosquitto in the foreground on 127.0.0.1:PORT with the certificates of scripts/pki.sh in
# DIR/pki (made if missing) and its data in DIR/broker. MILEPOST_ROOT is the pole's place in the
# topics, agency/site/camera; default demo-pd/main-street/north.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 DIR PORT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/broker"
dir=$(cd "$1" && pwd)
port=$2
root="alpr/v1/${MILEPOST_ROOT:-demo-pd/main-street/north}"
PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null || { echo "$0: mosquitto is missing: apt-get install mosquitto" >&2; exit 1; }

"$here/pki.sh" "$dir/pki"
sed "s|@ROOT@|$root|g" "$here/acl.in" >"$dir/broker/acl"
sed -e "s|@PKI@|$dir/pki|g" -e "s|@DIR@|$dir/broker|g" -e "s|@PORT@|$port|g" -e "s|@USER@|$(id -un)|g" \
    "$here/mosquitto.conf.in" >"$dir/broker/mosquitto.conf"
chmod 600 "$dir/broker/acl" "$dir/broker/mosquitto.conf"
exec mosquitto -c "$dir/broker/mosquitto.conf"
