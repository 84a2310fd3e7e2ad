#!/bin/sh
# Makes what a demo or a test needs for mutual TLS, in DIR:
#   ca.crt ca.key              a certificate authority of its own
#   broker.crt broker.key      localhost, 127.0.0.1, ::1
#   pole.crt pole.key          the pole's client certificate (CN pole)
#   server.crt server.key      the central server's (CN server)
#   lists-ca.crt lists-ca.key  the authority for alert lists, another one
#   lists.crt lists.key        who signs alert lists (CN lists)
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
    for name in ca broker pole server lists-ca lists; do
        [ -s "$name.key" ] && [ -s "$name.crt" ] || return 1
        openssl x509 -in "$name.crt" -noout -checkend "$week" >/dev/null 2>&1 || return 1
    done
    for name in broker pole server; do
        openssl verify -CAfile ca.crt "$name.crt" >/dev/null 2>&1 || return 1
    done
    openssl verify -CAfile lists-ca.crt lists.crt >/dev/null 2>&1
}

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

# authority NAME
authority() {
    key "$1.key.new"
    openssl req -x509 -new -key "$1.key.new" -sha256 -days "$days" -subj "/O=Milepost demo/CN=Milepost demo $1" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
        -out "$1.crt.new"
}

# issue AUTHORITY NAME EXTENSIONS
issue() {
    authority=$1
    shift
    key "$1.key.new"
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%b\n' "$2" >"$1.ext"
    openssl req -new -key "$1.key.new" -subj "/O=Milepost demo/CN=$1" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA "$authority.crt.new" -CAkey "$authority.key.new" -set_serial "0x$(openssl rand -hex 16)" \
        -days "$days" -sha256 -extfile "$1.ext" -out "$1.crt.new" 2>/dev/null
    rm -f "$1.csr" "$1.ext"
}

if fresh; then exit 0; fi
authority ca
authority lists-ca
issue ca broker 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
issue ca pole 'extendedKeyUsage=clientAuth'
issue ca server 'extendedKeyUsage=clientAuth'
issue lists-ca lists 'extendedKeyUsage=clientAuth'
for name in ca broker pole server lists-ca lists; do
    mv "$name.key.new" "$name.key"
    mv "$name.crt.new" "$name.crt"
    chmod 600 "$name.key"
    chmod 644 "$name.crt"
done
echo "made demo authorities and certificates for broker, pole, server and lists in $dir (30 days)"
