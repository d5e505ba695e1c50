#!/bin/sh
# make_secrets.sh FOLDER [NAME...]: secrets and certificates for a first system. What exists already stays as it is.
#
# FOLDER gets core, livekit, bridge, admin, cluster, valkey (one secret each), cluster-url, livekit-keys.yaml,
# ca.pem with ca.key, bridge.pem with bridge.key for the NAMEs of the bridges, and cloud.pem (certificate and key) for
# PUBLIC_HOST, which a certificate of a public authority replaces. Needs openssl.
#   PUBLIC_HOST   the name that phones use (cloud.localhost)
#   VALKEY        host:port of the directory (valkey:6379)
set -eu
umask 022
folder=${1:?usage: make_secrets.sh FOLDER [NAME...]}; shift
[ $# -gt 0 ] || set -- bridge-1 bridge-2
host=${PUBLIC_HOST:-cloud.localhost}
# The folder keeps others out; containers that run as other users read the files that are mounted into them.
mkdir -p "$folder"; chmod 700 "$folder"; cd "$folder"

for name in core livekit bridge admin cluster valkey; do
    [ -e "$name" ] || openssl rand -hex 32 > "$name"
done
[ -e cluster-url ] || echo "valkey://:$(cat valkey)@${VALKEY:-valkey:6379}" > cluster-url
[ -e livekit-keys.yaml ] || echo "glassbridge: $(cat livekit)" > livekit-keys.yaml
[ -e valkey.conf ] || printf 'requirepass %s\nappendonly yes\ndir /data\n' "$(cat valkey)" > valkey.conf

if ! [ -e ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=glassbridge" \
        -keyout ca.key -out ca.pem 2> /dev/null
fi

# certificate FILE NAME...: FILE.pem and FILE.key, signed by ca.pem
certificate() {
    file=$1; shift
    [ -e "$file.pem" ] && return
    names=$(printf 'DNS:%s,' "$@")
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "${names%,}" > "$file.ext"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$file.key" -out "$file.csr" 2> /dev/null
    openssl x509 -req -in "$file.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile "$file.ext" -out "$file.pem" 2> /dev/null
    rm "$file.csr" "$file.ext"
}
certificate bridge "$@"
if ! [ -e cloud.pem ]; then
    certificate front "$host"
    cat front.pem front.key > cloud.pem
    rm front.pem front.key
fi
chmod 644 ./*.key
