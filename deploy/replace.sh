#!/bin/sh
# Replace the containers of one service of docker-compose.yml by those of the version that .env names, one at a time:
#
#     deploy/replace.sh outputs-api
#
# A new one is healthy before an old one is stopped. One that does not become healthy is removed again, the old ones go on,
# and the exit status is 1. May be repeated. COMPOSE says what to call, as "docker-compose"; PATIENCE_S how long to wait.
set -eu

service=${1:?name a service, as outputs-api}
compose=${COMPOSE:-docker compose}
patience_s=${PATIENCE_S:-120}

# What is there and was not there before: the one line of its standard input that the words do not have.
other_than() {
    while read -r container; do
        case " $* " in
            *" $container "*) ;;
            *) echo "$container" ;;
        esac
    done
}

until_healthy() {
    waited_s=0
    until [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; do
        [ "$waited_s" -lt "$patience_s" ] || return 1
        sleep 1
        waited_s=$((waited_s + 1))
    done
}

old=$($compose ps --quiet "$service")
count=$(echo "$old" | grep -c . || true)
[ "$count" -gt 0 ] || { echo "replace: no $service is running" >&2; exit 1; }

for container in $old; do
    before=$($compose ps --quiet "$service" | tr '\n' ' ')
    $compose up --detach --no-deps --no-recreate --scale "$service=$((count + 1))" "$service"
    # shellcheck disable=SC2086  # one word for each container is wanted
    new=$($compose ps --quiet "$service" | other_than $before)
    if ! until_healthy "$new"; then
        echo "replace: the new $service is not healthy after $patience_s s; its last words, then it is removed:" >&2
        docker logs --tail 20 "$new" >&2 || true
        docker rm --force "$new" >/dev/null
        exit 1
    fi
    docker stop "$container" >/dev/null
    docker rm "$container" >/dev/null
    echo "$service: $container was replaced by $new"
done
