#!/bin/sh
# Runs a Sentinel, and ends it when its certificate or the bundle of CAs has changed: it reads them only when it starts, and
# the kubelet starts it again. The Sentinels of three pods seldom see the change at the same time.
set -eu
files="/run/tls/certificate/tls.crt /run/tls/trust/ca.crt"

sum() { cat $files | sha256sum; }

loaded=$(sum)
redis-server /data/sentinel.conf --sentinel &
sentinel=$!
trap 'kill "$sentinel"; wait "$sentinel"; exit' TERM
while kill -0 "$sentinel" 2>/dev/null; do
    if [ "$(sum)" != "$loaded" ]; then
        echo "the certificate has changed"
        kill "$sentinel"
        break
    fi
    sleep 10 &
    wait $!
done
wait "$sentinel"
