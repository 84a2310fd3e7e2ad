#!/bin/sh
# Makes what a demo or a test needs for mutual TLS, in DIR:
#   ca.crt ca.key              a certificate authority of its own
#   broker.crt broker.key      localhost, 127.0.0.1, ::1
#   pole.crt pole.key          the pole's client certificate (CN pole)
#   server.crt server.key      the central server's (CN server)
# EC P-256, 30 days, keys 0600. Run again it changes nothing until a certificate has less than
# 7 days left; then everything is made anew. For demonstrations: a department has its own authority.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
command -v openssl >/dev/null || { echo "$0: openssl is missing: apt-get install openssl" >&2; exit 1; }
dir=$1
days=30
week=604800

mkdir -p "$dir"
cd "$dir"
umask 077

fresh() {
    for name in ca broker pole server; do
        [ -s "$name.key" ] && [ -s "$name.crt" ] || return 1
        openssl x509 -in "$name.crt" -noout -checkend "$week" >/dev/null 2>&1 || return 1
    done
    for name in broker pole server; do
        openssl verify -CAfile ca.crt "$name.crt" >/dev/null 2>&1 || return 1
    done
}

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

# issue NAME EXTENSIONS
issue() {
    key "$1.key.new"
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%b\n' "$2" >"$1.ext"
    openssl req -new -key "$1.key.new" -subj "/O=Milepost demo/CN=$1" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.crt.new -CAkey ca.key.new -set_serial "0x$(openssl rand -hex 16)" \
        -days "$days" -sha256 -extfile "$1.ext" -out "$1.crt.new" 2>/dev/null
    rm -f "$1.csr" "$1.ext"
}

if fresh; then exit 0; fi
key ca.key.new
openssl req -x509 -new -key ca.key.new -sha256 -days "$days" -subj "/O=Milepost demo/CN=Milepost demo CA" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
    -out ca.crt.new
issue broker 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
issue pole 'extendedKeyUsage=clientAuth'
issue server 'extendedKeyUsage=clientAuth'
for name in ca broker pole server; do
    mv "$name.key.new" "$name.key"
    mv "$name.crt.new" "$name.crt"
    chmod 600 "$name.key"
    chmod 644 "$name.crt"
done
echo "made a demo authority and certificates for broker, pole and server in $dir (30 days)"
