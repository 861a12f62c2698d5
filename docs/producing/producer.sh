#!/usr/bin/env bash
# Offers one file with redis-cli 7 and openssl, and prints the key that its fate is asked for under:
#   SLUICE_API_KEY=sluice_key-..._... SLUICE_REDIS_URL=redis://127.0.0.1:8100/0 ./producer.sh FILE INTERNAL
# No secret is given as an argument, where every user of this machine could read it; a password of Redis goes into
# REDISCLI_AUTH for the same reason.
set -euo pipefail
file=$1
level=$2
: "${SLUICE_API_KEY:?}" "${SLUICE_REDIS_URL:?}"

key_id=${SLUICE_API_KEY#sluice_}
key_id=${key_id%%_*}
time=$(date -u +%Y-%m-%dT%H:%M:%SZ)
nonce=$(openssl rand -hex 16)

sha256() { openssl dgst -sha256 -r | cut -c1-64; }
bytes() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; } # of hexadecimal digits
quoted() { sed 's/[\\"]/\\&/g' | tr -d '\000-\037'; }   # as the inside of a JSON string

name=$(basename "$file" | quoted)
body="{\"name\":\"$name\",\"access_level\":\"$level\",\"content_base64\":\"$(openssl base64 -A -in "$file")\"}"

# HMAC-SHA256 as RFC 2104 has it. Its key is the SHA-256 of the API key, filled up with zeros to 64 bytes.
digest=$(printf '%s' "$SLUICE_API_KEY" | sha256)$(printf '0%.0s' {1..64})
pad() { for ((i = 0; i < 128; i += 2)); do printf '%02x' $((0x${digest:i:2} ^ $1)); done; }
inner=$({ bytes "$(pad 0x36)"; printf '%s' "$key_id.$time.$nonce.$body"; } | sha256)
hmac=$({ bytes "$(pad 0x5c)"; bytes "$inner"; } | sha256)

grant="{\"key_id\":\"$key_id\",\"time\":\"$time\",\"nonce\":\"$nonce\",\"hmac\":\"$hmac\"}"
printf '{"body":"%s","grant":%s}' "$(quoted <<<"$body")" "$grant" |
    redis-cli -e -x -u "$SLUICE_REDIS_URL" XADD documents.offered.v1 '*' __data__ >/dev/null
echo "$nonce"
