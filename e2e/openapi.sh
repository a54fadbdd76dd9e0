#!/usr/bin/env bash
# Sends a server what its own description of the APIs allows, and what it does not, and looks whether the answers are
# those that it describes. $1: schemathesis; the rest is handed on to it.
set -euo pipefail
cd "$(dirname "$0")/.."
schemathesis=$1
shift
if [ ! -x "$schemathesis" ]; then
    venv=$(dirname "$(dirname "$schemathesis")")
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'schemathesis>=4,<5'
fi
server=$PWD/target/debug/tandem-server
work=$(mktemp -d)
trap 'kill "$process" 2> /dev/null || true; wait "$process" 2> /dev/null || true; rm -rf "$work"' EXIT
"$server" serve --data "$work/data" --listen 127.0.0.1:0 --log-level error > "$work/out" 2> "$work/log" &
process=$!
url=
while [ -z "$url" ]; do
    kill -0 "$process"
    url=$(sed -n 's/^listening on //p' "$work/out")
    sleep 0.1
done
ca=$work/data/tls/ca.crt
token=$("$server" token create check --data "$work/data")

# A device that is let in.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/key" 2> "$work/openssl"
openssl pkey -in "$work/key" -pubout -out "$work/key.pub"
"$server" device preauthorize --data "$work/data" --key "$work/key.pub" mac=01 > /dev/null
python3 - "$work/key.pub" > "$work/request" << 'PY'
import json, sys
print(json.dumps({"id_data": '{"mac":"01"}', "pubkey": open(sys.argv[1]).read(), "tenant_token": ""}), end="")
PY
signature=$(openssl dgst -sha256 -sign "$work/key" "$work/request" | base64 -w 0)
device=$(curl -sf --cacert "$ca" -H 'Content-Type: application/json' -H "X-MEN-Signature: $signature" \
    --data-binary "@$work/request" "$url/api/devices/v1/authentication/auth_requests")

status=0
run() {
    "$schemathesis" run "$url/api/openapi.json" --tls-verify "$ca" --seed 1 --max-examples 25 --no-color \
        --phases examples,coverage,fuzzing \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        "$@" || status=1
}
# What ends tokens comes last.
ends='/auth/logout$|/settings/tokens/|/useradm/users/'
run --include-path-regex '^/api/devices/' --header "Authorization: Bearer $device" "$@"
run --exclude-path-regex "^/api/devices/|$ends" --header "Authorization: Bearer $token" "$@"
run --include-path-regex "$ends" --header "Authorization: Bearer $token" "$@"
grep -E '^error' "$work/log" && status=1
kill -0 "$process"
exit "$status"
