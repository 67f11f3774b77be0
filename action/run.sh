#!/usr/bin/env bash
# Starts an app, plays Zoom for it, and ends with 1 if it broke the protocol. See action.yml for the variables.
set -euo pipefail

# The app and the simulator have to agree on the credentials. These are worth nothing outside of the test.
export ZOOM_CLIENT_ID=${ZOOM_CLIENT_ID:-test-client}
export ZOOM_CLIENT_SECRET=${ZOOM_CLIENT_SECRET:-test-secret}
export ZOOM_SECRET_TOKEN=${ZOOM_SECRET_TOKEN:-test-token}

app=
end_app() { # the app and what it started; it may finish its work
    [ -n "$app" ] || return 0
    kill -TERM -- "-$app" 2>/dev/null || true
    wait "$app" 2>/dev/null || true
    app=
}
trap end_app EXIT

if [ -n "${UNDER_TEST_APP:-}" ]; then
    set -m # in a process group of its own, which can be ended as a whole
    bash -c "$UNDER_TEST_APP" </dev/null &
    app=$!
    set +m
fi

address=${UNDER_TEST_WEBHOOK#*://}
address=${address%%/*}
port=443
case $UNDER_TEST_WEBHOOK in http://*) port=80 ;; esac
case $address in *:*) port=${address##*:} address=${address%:*} ;; esac
deadline=$((SECONDS + ${UNDER_TEST_WAIT:-30}))
until (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ] || { [ -n "$app" ] && ! kill -0 "$app" 2>/dev/null; }; then
        echo "error: nothing listens on $address:$port, or the app has ended." >&2
        exit 1
    fi
    sleep 0.2
done
rtms trigger url_validation --webhook "$UNDER_TEST_WEBHOOK"

code=0
options=(--webhook "$UNDER_TEST_WEBHOOK" --products "${UNDER_TEST_PRODUCTS:-meeting}")
[ -z "${UNDER_TEST_SCENARIO:-}" ] || options+=(--scenario "$UNDER_TEST_SCENARIO")
[ -z "${UNDER_TEST_CHAOS:-}" ] || options+=(--chaos "$UNDER_TEST_CHAOS")
[ -z "${UNDER_TEST_SECONDS:-}" ] || options+=(--seconds "$UNDER_TEST_SECONDS")
report() { # COMMAND…: run it; what it says goes to the job's summary too
    echo '```' >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
    "$@" 2>&1 | tee -a "${GITHUB_STEP_SUMMARY:-/dev/null}" || code=1
    echo '```' >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
}
report rtms simulate "${options[@]}"
if [ -n "${UNDER_TEST_LINT:-}" ]; then
    end_app
    for capture in $UNDER_TEST_LINT; do # wildcards are meant
        report rtms inspect "$capture" --lint
    done
fi
exit "$code"
