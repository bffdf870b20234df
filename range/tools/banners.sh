#!/bin/sh
# Banners taken by hand: banners.sh WAIT HOST:PORT...; connects, says little or nothing, listens, leaves.
wait=$1
shift
for where in "$@"; do
  host=${where%%:*} port=${where##*:}
  for word in '' '\r\n\r\n' 'HEAD / HTTP/1.0\r\n\r\n' 'HELP\r\n' 'GET / HTTP/1.0\r\n\r\n' '\000\000\000\001'; do
    printf "$word" | timeout $((wait + 1)) nc -w "$wait" -N "$host" "$port" > /dev/null 2>&1
    sleep 0.1
  done
done
