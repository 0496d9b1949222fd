#!/bin/sh
# Has Redis read its certificate and the bundle of CAs again whenever one of them has changed.
set -eu
folder=/run/tls

reload() {
    REDISCLI_AUTH=$(cat /run/secrets/redis/reload) redis-cli -s /run/redis/redis.sock --user reload CONFIG SET \
        tls-cert-file "$folder/certificate/tls.crt" \
        tls-key-file "$folder/certificate/tls.key" \
        tls-ca-cert-file "$folder/trust/ca.crt"
}

trap 'exit 0' TERM
loaded=
while :; do
    present=$(cat "$folder/certificate/tls.crt" "$folder/trust/ca.crt" | sha256sum)
    if [ "$present" != "$loaded" ]; then
        # Redis may not be up yet, or refuse files that do not fit together; the next round tries again.
        answer=$(reload 2>&1) || true
        if [ "$answer" = OK ]; then
            loaded=$present
            echo "Redis has read its certificate"
        else
            echo "Redis has not read its certificate: $answer" >&2
        fi
    fi
    sleep 10 &
    wait $!
done
