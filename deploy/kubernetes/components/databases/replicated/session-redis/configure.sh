#!/bin/sh
# Writes the configuration of this pod's server and Sentinel to the volume. Sentinel changes both files when it makes another
# server the master. So what it wrote about that is kept, and everything else is written anew.
set -eu
name=session-redis
self=$HOSTNAME.$name
first=$name-0.$name
secrets=/run/secrets/redis

if [ -e /data/redis.conf ]; then
    master=$(grep '^replicaof ' /data/redis.conf || true)
elif [ "$self" = "$first" ]; then
    master=
else
    master="replicaof $first 6379"
fi
cat >/data/redis.conf.new <<CONF
include /etc/redis/redis.conf
masterauth $(cat $secrets/replica)
replica-announce-ip $self
$master
CONF
mv /data/redis.conf.new /data/redis.conf

# What a Sentinel learns of the others, and the votes that it gave, are in its file; a new one would vote twice.
if [ ! -e /data/sentinel.conf ]; then
    cat >/data/sentinel.conf.new <<CONF
include /etc/redis/sentinel.conf
sentinel announce-ip $self
sentinel monitor $name $first 6379 2
sentinel auth-user $name sentinel
sentinel auth-pass $name $(cat $secrets/sentinel)
sentinel sentinel-pass $(cat $secrets/sentinel)
sentinel down-after-milliseconds $name 3000
sentinel failover-timeout $name 10000
CONF
    mv /data/sentinel.conf.new /data/sentinel.conf
fi
