#!/bin/sh
# Has Redis read its certificate and the bundle of CAs again whenever one of them has changed, and its users.
set -eu
folder=/run/tls
users=/run/secrets/redis/users.acl

# told COMMAND...: what Redis answers.
told() {
    REDISCLI_AUTH=$(cat /run/secrets/redis/reload) redis-cli -s /run/redis/redis.sock --user reload "$@" 2>&1 || true
}

# has_read WHAT ANSWER: whether that is so. If not, the next round tries again: Redis may not be up yet, or refuse files that
# do not fit together.
has_read() {
    if [ "$2" = OK ]; then
        echo "Redis has read its $1"
    else
        echo "Redis has not read its $1: $2" >&2
        return 1
    fi
}

trap 'exit 0' TERM
certificate='' loaded=''
while :; do
    present=$(cat "$folder/certificate/tls.crt" "$folder/trust/ca.crt" | sha256sum)
    if [ "$present" != "$certificate" ]; then
        answer=$(told CONFIG SET tls-cert-file "$folder/certificate/tls.crt" tls-key-file "$folder/certificate/tls.key" \
            tls-ca-cert-file "$folder/trust/ca.crt")
        if has_read certificate "$answer"; then certificate=$present; fi
    fi
    # It ends the connections of users that have changed, and Redis before 7.4 those of all others too.
    present=$(sha256sum <"$users")
    if [ "$present" != "$loaded" ]; then
        if has_read users "$(told ACL LOAD)"; then loaded=$present; fi
    fi
    sleep 10 &
    wait $!
done
