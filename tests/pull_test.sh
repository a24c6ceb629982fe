#!/usr/bin/env bash
# `shoehorn pull` against a hub of our own (hub_server.py): the cache's layout, what is fetched, what
# goes wrong on the way, and who gets the token.
set -euo pipefail

fail() { echo "FAILED: $*" >&2; cat "$WORK/err" >&2 || true; exit 1; }
command -v python3 >/dev/null || { echo "no python3 here" >&2; exit 77; }

hub=$WORK/hub
model=$hub/files/org/tiny
mkdir -p "$model/onnx" "$model/additional_chat_templates"
cp "$TEST_DATA"/tiny-llama/* "$model"
echo '{{ messages }}' >"$model/chat_template.jinja"
echo 'tools' >"$model/additional_chat_templates/tool_use.jinja"
echo 'not needed' >"$model/onnx/model.onnx"
echo 'not needed' >"$model/pytorch_model.bin"

python3 "$SOURCE/tests/hub_server.py" "$hub" "$WORK/port" 2>"$WORK/server.err" &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 100); do [[ -s $WORK/port ]] && break; sleep 0.1; done
[[ -s $WORK/port ]] || { cat "$WORK/server.err" >&2; fail "the server does not start"; }

export HF_ENDPOINT=http://127.0.0.1:$(cat "$WORK/port") HF_HOME=$WORK/home HOME=$WORK
unset HF_TOKEN HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_TOKEN_PATH HUGGING_FACE_HUB_TOKEN HF_HUB_OFFLINE
export no_proxy=127.0.0.1
cache=$HF_HOME/hub/models--org--tiny

faults() { echo "$1" >"$hub/faults.json"; }
# fresh: an empty cache and log, nothing wrong.
fresh() { rm -rf "$HF_HOME" "$hub/log"; faults "{\"reset\": $RANDOM}"; }
# pull CODE ARGUMENTS...: output in $WORK/out and $WORK/err.
pull() {
  local want=$1 code=0
  shift
  "$SHOEHORN" pull "$@" --retry-delay 0.01 >"$WORK/out" 2>"$WORK/err" </dev/null || code=$?
  ((code == want)) || fail "exit code $code, not $want: pull $*"
}
says() { grep -qF -- "$1" "$WORK/err" || fail "stderr does not say: $1"; }
# requests PYTHON: how many lines of the log (r) fit.
requests() { python3 -c '
import json, sys
print(sum(bool(eval(sys.argv[2], {"r": json.loads(line)})) for line in open(sys.argv[1])))' "$hub/log" "$1"; }
same() { cmp -s "$model/$1" "$snapshot/$1" || fail "$1 came otherwise"; }

fresh
pull 1 org/tiny --include '*.zip'
says 'no file matches'

# What is needed, in the hub's layout.
pull 0 org/tiny
snapshot=$(cat "$WORK/out")
[[ $snapshot == "$cache"/snapshots/* && $(cat "$cache/refs/main") == "$(basename "$snapshot")" ]] || fail "layout"
for file in config.json generation_config.json tokenizer.json tokenizer_config.json model.safetensors \
  chat_template.jinja additional_chat_templates/tool_use.jinja; do
  [[ -L $snapshot/$file ]] || fail "$file is no link"
  same "$file"
done
[[ ! -e $snapshot/pytorch_model.bin && ! -e $snapshot/onnx && ! -e $snapshot/README.md ]] || fail "too much"
[[ -f $cache/blobs/$(sha256sum "$model/model.safetensors" | cut -d ' ' -f 1) ]] || fail "the blob's name"
if compgen -G "$cache/blobs/*.incomplete" >/dev/null; then fail "something incomplete is left"; fi
"$SHOEHORN" run org/tiny -p Hello -n 3 --ignore-eos >"$WORK/out" 2>"$WORK/err" || fail "run org/tiny"
"$SHOEHORN" template org/tiny -p Hello >"$WORK/out" 2>"$WORK/err" || fail "template org/tiny"

# What is there is not fetched again; another revision is a name for the same.
rm "$hub/log"
pull 0 org/tiny@v1 --json
[[ $(requests 'r["method"] == "GET" and "/api/" not in r["path"]') == 0 ]] || fail "fetched again"
[[ -f $cache/refs/v1 ]] || fail "refs/v1"

# Shards: those that the index names.
sharded=$hub/files/org/sharded
mkdir -p "$sharded"
cp "$TEST_DATA"/models/llama-sharded/*.{json,safetensors} "$sharded"
rm "$sharded/logits.safetensors"
echo not needed >"$sharded/consolidated.safetensors"
pull 0 org/sharded
[[ $(ls "$(cat "$WORK/out")" | grep -c 'model-.*safetensors') == 4 ]] || fail "shards"
[[ ! -e $(cat "$WORK/out")/consolidated.safetensors ]] || fail "consolidated.safetensors"

# Connections that break: the second and third try go on where they broke.
fresh
faults '{"drop": {"model.safetensors": [100000, 70000], "tokenizer.json": [100]}}'
pull 0 org/tiny
snapshot=$(cat "$WORK/out")
same model.safetensors
same tokenizer.json
for begin in 100000 170000; do
  [[ $(requests "r['server'] == 'cdn' and r['range'] == 'bytes=$begin-'") == 1 ]] || fail "did not resume"
done
says 'trying again'

# A server that cannot resume, and one that gives up: the next command goes on.
fresh
faults '{"drop": {"model.safetensors": [100000]}, "no_range": true}'
pull 0 org/tiny
snapshot=$(cat "$WORK/out")
same model.safetensors
fresh
faults '{"drop": {"model.safetensors": [90000, 0, 0, 0, 0, 0, 0, 0]}}'
pull 1 org/tiny --attempts 2
says 'goes on where this one stopped'
[[ ! -e $cache/refs/main ]] || fail "a ref to a model that is not whole"
rm "$hub/log"
faults '{}'
pull 0 org/tiny
[[ $(requests 'r["server"] == "cdn" and r["range"] == "bytes=90000-"') == 1 ]] || fail "the next command did not resume"
snapshot=$(cat "$WORK/out")
same model.safetensors

# Bytes that are not the file's: once is made good, always is an error, and nothing is kept.
fresh
faults '{"corrupt": {"model.safetensors": 1, "config.json": 1}}'
pull 0 org/tiny
snapshot=$(cat "$WORK/out")
same model.safetensors
same config.json
fresh
faults '{"corrupt": {"model.safetensors": 9}}'
pull 1 org/tiny
says 'model.safetensors'
says 'has the hash'
[[ ! -e $cache/blobs/$(sha256sum "$model/model.safetensors" | cut -d ' ' -f 1) ]] || fail "a wrong blob was kept"
# What another program left half done, and wrong.
fresh
mkdir -p "$cache/blobs"
head -c 1000 /dev/zero >"$cache/blobs/$(sha256sum "$model/model.safetensors" | cut -d ' ' -f 1).incomplete"
pull 0 org/tiny
snapshot=$(cat "$WORK/out")
same model.safetensors

# The token: asked for, given to the hub and to nobody else, and never printed.
fresh
faults '{"needs_token": "hf_secret"}'
pull 1 org/tiny
says 'HF_TOKEN'
HF_TOKEN=hf_wrong pull 1 org/tiny
says 'does not accept the token'
if grep -q hf_wrong "$WORK/err"; then fail "the token was printed"; fi
rm "$hub/log"
HF_TOKEN=hf_secret pull 0 org/tiny
[[ $(requests 'r["server"] == "cdn"') -gt 0 ]] || fail "the CDN was not asked"
[[ $(requests 'r["server"] == "cdn" and r["token"]') == 0 ]] || fail "the token went to another host"
[[ $(requests 'r["server"] == "hub" and r["token"] != "Bearer hf_secret"') == 0 ]] || fail "the token is missing"
fresh
faults '{"needs_token": "hf_secret"}'
mkdir -p "$HF_HOME"
echo hf_secret >"$HF_HOME/token"
pull 0 org/tiny

# Answers that say no.
fresh
pull 1 org/nothing
says 'spelt right'
pull 1 org/tiny@v9
says 'no revision v9'
faults '{"gated": true}'
pull 1 org/tiny
says 'terms to accept'
faults '{"busy": 3}'
pull 0 org/tiny
pull 2 ../evil
pull 2 'org/tiny@../../x'
HF_HUB_OFFLINE=1 pull 1 org/tiny
HF_ENDPOINT=ftp://127.0.0.1 pull 2 org/tiny
HF_ENDPOINT=http://127.0.0.1:1 pull 1 org/tiny --attempts 2

# Names that would leave the folder.
fresh
for name in '../../evil' '/tmp/evil' 'a/../../evil'; do
  faults "{\"names\": [\"$name\", \"model.safetensors\"]}"
  pull 1 org/tiny
  says 'would not stay'
done

# Over HTTPS: certificates are checked against the system's, or those that the environment names; the
# token is not for the CDN here either.
command -v openssl >/dev/null || { echo "no openssl here: HTTPS not tested"; exit 0; }
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$WORK/key.pem" -out "$WORK/certificate.pem" 2>"$WORK/openssl.err" || fail "openssl"
cat "$WORK/key.pem" "$WORK/certificate.pem" >"$WORK/both.pem"
python3 "$SOURCE/tests/hub_server.py" "$hub" "$WORK/tls_port" "$WORK/both.pem" 2>"$WORK/server.err" &
tls_server=$!
trap 'kill $server $tls_server' EXIT
for _ in $(seq 100); do [[ -s $WORK/tls_port ]] && break; sleep 0.1; done
HF_ENDPOINT=https://127.0.0.1:$(cat "$WORK/tls_port")
unset CURL_CA_BUNDLE REQUESTS_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
fresh
pull 1 org/tiny
says 'SSL_CERT_FILE'
[[ ! -s $hub/log ]] || fail "something was asked of a server that nobody vouches for"
SSL_CERT_FILE=$WORK/nothing.pem pull 1 org/tiny
says "$WORK/nothing.pem"
faults '{"needs_token": "hf_secret"}'
for name in CURL_CA_BUNDLE REQUESTS_CA_BUNDLE SSL_CERT_FILE; do
  fresh
  faults '{"needs_token": "hf_secret"}'
  env HF_TOKEN=hf_secret $name="$WORK/certificate.pem" \
    "$SHOEHORN" pull org/tiny --retry-delay 0.01 >"$WORK/out" 2>"$WORK/err" </dev/null || fail "$name"
  snapshot=$(cat "$WORK/out")
  same model.safetensors
  [[ $(requests 'r["server"] == "cdn"') -gt 0 ]] || fail "the CDN was not asked"
  [[ $(requests 'r["server"] == "cdn" and r["token"]') == 0 ]] || fail "the token went to another host"
done
echo "all good"
