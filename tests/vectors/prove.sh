#!/usr/bin/env bash
# A proof for one request under a keyed grant, as docs/spec/grant-proof.md says, with OpenSSL 3.
# usage: prove.sh KEY.pem METHOD URL GRANT [BODY_FILE [CHAIN_FILE]]
set -euo pipefail

key=$1 method=$2 url=$3 grant=$4 body=${5:-/dev/null} chain=${6:-}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
digest() { openssl dgst -sha256 -binary | base64url; }

x=$(openssl pkey -in "$key" -pubout -outform DER | tail -c 32 | base64url)
header='{"typ":"coatcheck-proof+jwt","alg":"Ed25519","jwk":{"kty":"OKP","crv":"Ed25519","x":"'$x'"}}'

claims='{"htm":"'$method'","htu":"'${url%%[?#]*}'","iat":'$(date +%s)',"jti":"'$(openssl rand 16 | base64url)'"'
claims+=',"gid":"'$grant'","bdh":"'$(digest <"$body")'"'
if [ -n "$chain" ]; then
  claims+=',"cdh":"'$(tr -d '\n' <"$chain" | digest)'"'
fi
claims+='}'

signing_input=$(printf %s "$header" | base64url).$(printf %s "$claims" | base64url)
signed=$(mktemp)
trap 'rm -f "$signed"' EXIT
printf %s "$signing_input" >"$signed"
printf '%s.%s\n' "$signing_input" "$(openssl pkeyutl -sign -inkey "$key" -rawin -in "$signed" | base64url)"
