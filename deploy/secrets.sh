#!/bin/sh
# Makes the secrets of a system that has none yet, with new random passwords:
#
#     sh deploy/secrets.sh compose [FOLDER]                           # files, for docker compose
#     sh deploy/secrets.sh development | kubectl create -f -          # Secrets, for overlays of Kubernetes
#     sh deploy/secrets.sh test | kubectl create -f -
#
# A second run must not replace them, because the databases keep the passwords with which they were made: so it is `create`
# and not `apply`, and no file is made where there is one. In production, whoever keeps a company's secrets makes these;
# deploy/kubernetes/README.md lists them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
acl=$here/../migrations/session/users.acl
files=${2:-$here/compose/secrets}

target=${1:-}
postgres_options='' mongodb_options='' redis_options='' redis=redis mongodb_host=mongodb-0.mongodb:27017
case $target in
compose)
    mongodb_host=mongodb:27017
    # Of the account that runs this, and closed to others. In it the containers' accounts must be able to read, and compose
    # gives them the files as they are here.
    (umask 077 && mkdir "$files") || { echo "these secrets are made; delete the folder for new ones" >&2 && exit 1; }
    umask 022
    ;;
development) ;;
test)
    ca=/run/tls/trust/ca.crt
    postgres_options="?sslmode=verify-full&sslrootcert=$ca"
    mongodb_options="&tls=true&tlsCAFile=$ca"
    redis=rediss redis_options="?tlsCAFile=$ca"
    ;;
*)
    echo "usage: $0 compose|development|test" >&2
    exit 2
    ;;
esac

random() { openssl rand -hex 32; }

# secret NAME KEY VALUE [KEY VALUE]...: a line break in a value is written \n. Hexadecimal passwords need no quoting in YAML,
# in an address or in a shell.
secret() {
    name=$1
    shift
    if [ "$target" = compose ]; then
        mkdir "$files/$name"
        while [ $# -gt 0 ]; do
            printf '%b' "$2" >"$files/$name/$1"
            shift 2
        done
    else
        printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: tristore}\nstringData:\n' "$name"
        while [ $# -gt 0 ]; do
            printf '  %s: "%s"\n' "$1" "$2"
            shift 2
        done
    fi
}

owner=$(random) service=$(random) reader=$(random)
secret postgresql postgres "$(random)" order_owner "$owner" order_service "$service" order_reader "$reader"
postgres() { echo "postgres://$1:$2@postgresql:5432/order$postgres_options"; }

root=$(random) migrate=$(random) runtime=$(random) monitor=$(random)
mongodb() { echo "mongodb://$1:$2@$mongodb_host/$3$mongodb_options"; }
secret mongodb root "$root" key-file "$(random)"
# shellcheck disable=SC2046 # The key and the value are words.
secret mongodb-roles migrate "$migrate" runtime "$runtime" reader "$(random)" \
    admin-url "$(mongodb root "$root" "admin?directConnection=true")" \
    $([ "$target" != compose ] || echo monitor "$monitor")

# Whoever asks a Redis whether it answers may do nothing else.
health="user health on >health resetchannels -@all +ping"
# reloader PASSWORD: the user by whom a Redis with TLS is told to read its certificate and its users again.
reloader() { echo "user reload on >$1 resetchannels -@all +config|set +acl|load"; }
# The user of an exporter of metrics, and who may read nothing that is stored.
exporter=$(random)
exporter_user="user exporter on >$exporter resetchannels -@all +ping +info +config|get +client|setname +client|list +slowlog|get \
+slowlog|len +latency|latest"

sessions=$(random) reload=$(random)
session_users="user default off\n$(cat "$acl") >$sessions\n$health\n$(reloader "$reload")\n"
[ "$target" != compose ] || session_users="$session_users$exporter_user\n"
secret session-redis reload "$reload" users.acl "$session_users"

events=$(random) reload=$(random)
secret event-redis reload "$reload" users.acl "user default off\nuser events on >$events resetchannels &events.* &wake.* \
-@all +hello +ping +select +publish +subscribe +unsubscribe\n$health\n$(reloader "$reload")\n"
events_url=$redis://events:$events@event-redis:6379/0$redis_options

# tokens TOKEN: the keys by which services recognise each other where they have no certificates.
user_token=$(random) order_token=$(random) session_token=$(random)
tokens() {
    [ "$target" != test ] || return 0
    echo "service-token $1 service-tokens user-service=$user_token,order-service=$order_token,session-service=$session_token"
}

# By its members, or by the one that is named: what stands for MongoDB where there is none (deploy/stand-ins) is no `rs0`.
of_user_service="?${MONGODB_SET:-replicaSet=rs0}&authSource=admin"
# shellcheck disable=SC2046 # The keys and values are words.
secret user-service $(tokens "$user_token") redis-events-url "$events_url" \
    mongodb-url "$(mongodb user_service_runtime "$runtime" "user_service$of_user_service")"
secret user-service-migration \
    mongodb-url "$(mongodb user_service_migrate "$migrate" "user_service$of_user_service")"

# shellcheck disable=SC2046
secret order-service $(tokens "$order_token") redis-events-url "$events_url" \
    postgres-url "$(postgres order_service "$service")"
secret order-service-migration postgres-url "$(postgres order_owner "$owner")"

session_url=$redis://session-service:$sessions@session-redis:6379/0$redis_options
# shellcheck disable=SC2046
secret session-service $(tokens "$session_token") redis-events-url "$events_url" redis-session-url "$session_url"
secret session-service-migration redis-session-url "$session_url"

# What docker compose runs besides.
if [ "$target" = compose ]; then
    secret exporters postgresql "$reader" redis "{\"redis://session-redis:6379\":\"$exporter\"}" \
        mongodb.env "MONGODB_URI=$(mongodb monitor "$monitor" "admin?directConnection=true")\n"
    secret grafana password "$(random)"
fi
