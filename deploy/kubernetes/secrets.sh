#!/bin/sh
# Prints the Secrets of the overlays `development` and `test` with new random passwords, for a cluster that has none yet:
#
#     sh deploy/kubernetes/secrets.sh development | kubectl create -f -
#
# `create` and not `apply`: the databases keep the passwords with which they were made, and a second run must not replace
# them. In production, whoever keeps a company's secrets makes these; the README lists them.
set -eu
here=$(dirname "$0")
acl=$here/../../migrations/session/users.acl

case ${1:-} in
development)
    postgres_options= mongodb_options= redis=redis
    ;;
test)
    ca=/run/tls/trust/ca.crt
    postgres_options="?sslmode=verify-full&sslrootcert=$ca"
    mongodb_options="&tls=true&tlsCAFile=$ca"
    redis=rediss
    ;;
*)
    echo "usage: $0 development|test" >&2
    exit 2
    ;;
esac

random() { openssl rand -hex 32; }

# secret NAME KEY VALUE [KEY VALUE]...: hexadecimal passwords need no quoting in YAML, in an address or in a shell.
secret() {
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: tristore}\nstringData:\n' "$1"
    shift
    while [ $# -gt 0 ]; do
        printf '  %s: "%s"\n' "$1" "$2"
        shift 2
    done
}

owner=$(random) service=$(random)
secret postgresql postgres "$(random)" order_owner "$owner" order_service "$service" order_reader "$(random)"
postgres() { echo "postgres://$1:$2@postgresql:5432/order$postgres_options"; }

root=$(random) migrate=$(random) runtime=$(random)
mongodb() { echo "mongodb://$1:$2@mongodb-0.mongodb:27017/$3$mongodb_options"; }
secret mongodb root "$root" key-file "$(random)"
secret mongodb-roles migrate "$migrate" runtime "$runtime" reader "$(random)" \
    admin-url "$(mongodb root "$root" "admin?directConnection=true")"

sessions=$(random) reload=$(random)
# reloader PASSWORD: the user by whom a Redis with TLS is told to read its certificate again.
reloader() { echo "user reload on >$1 resetchannels -@all +config|set"; }
secret session-redis reload "$reload" \
    users.acl "user default off\n$(cat "$acl") >$sessions\n$(reloader "$reload")\n"

events=$(random) reload=$(random)
secret event-redis reload "$reload" users.acl "user default off\nuser events on >$events resetchannels &events.* &wake.* \
-@all +hello +ping +select +publish +subscribe +unsubscribe\n$(reloader "$reload")\n"
events_url=$redis://events:$events@event-redis:6379/0

# tokens OVERLAY TOKEN: the keys by which services recognise each other where they have no certificates.
user_token=$(random) order_token=$(random) session_token=$(random)
tokens() {
    [ "$1" = development ] || return 0
    echo "service-token $2 service-tokens user-service=$user_token,order-service=$order_token,session-service=$session_token"
}

of_user_service="?replicaSet=rs0&authSource=admin"
# shellcheck disable=SC2046 # The keys and values are words.
secret user-service $(tokens "$1" "$user_token") redis-events-url "$events_url" \
    mongodb-url "$(mongodb user_service_runtime "$runtime" "user_service$of_user_service")"
secret user-service-migration \
    mongodb-url "$(mongodb user_service_migrate "$migrate" "user_service$of_user_service")"

# shellcheck disable=SC2046
secret order-service $(tokens "$1" "$order_token") redis-events-url "$events_url" \
    postgres-url "$(postgres order_service "$service")"
secret order-service-migration postgres-url "$(postgres order_owner "$owner")"

session_url=$redis://session-service:$sessions@session-redis:6379/0
# shellcheck disable=SC2046
secret session-service $(tokens "$1" "$session_token") redis-events-url "$events_url" redis-session-url "$session_url"
secret session-service-migration redis-session-url "$session_url"
