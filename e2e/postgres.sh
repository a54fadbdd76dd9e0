#!/usr/bin/env bash
# Runs a command beside a PostgreSQL server of its own, which waits for the disk as one that counts does. Where the command
# says @POSTGRES@ it gets the address of an empty database. Server and database go with this script.
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: e2e/postgres.sh COMMAND [ARGUMENT ...]" >&2; exit 2; }
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ -x "$bin/initdb" ] || { echo "no PostgreSQL: apt-get install postgresql" >&2; exit 1; }
dir=$(mktemp -d)
# It refuses to run as root.
as=()
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$dir"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi

server=
finish() {
    if [ -n "$server" ]; then
        kill -INT "$server" 2> /dev/null || true
        wait "$server" || true
    fi
    rm -rf "$dir"
}
trap finish EXIT

cd /
"${as[@]}" "$bin/initdb" --pgdata "$dir/data" --username tandem --auth trust --encoding UTF8 --locale C.UTF-8 > "$dir/log" 2>&1 \
    || { cat "$dir/log" >&2; exit 1; }
"${as[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= >> "$dir/log" 2>&1 &
server=$!
for _ in {1..100}; do
    "${as[@]}" "$bin/createdb" -h "$dir" -U tandem tandem 2> /dev/null && break
    kill -0 "$server" 2> /dev/null || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
cd - > /dev/null
# Who is not the owner must get to the socket, too.
chmod 711 "$dir"
url="postgres:///tandem?host=$dir&user=tandem"
"${@//@POSTGRES@/"$url"}"
