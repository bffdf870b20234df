#!/bin/sh
# Write to a controller with mbpoll, a connection each time: modbuswrite.sh HOST PORT TIMES
number=0
while [ "$number" -lt "$3" ]; do
  number=$((number + 1))
  case $((number % 3)) in
    0) mbpoll -q -m tcp -p "$2" -a 1 -t 0 -r "$number" "$1" 1 0 1 1 0 ;;
    1) mbpoll -q -m tcp -p "$2" -a 1 -t 4 -r "$number" "$1" $((number * 7)) $((number * 13)) 9 9 9 9 ;;
    2) mbpoll -q -m tcp -p "$2" -a "$number" -t 4 -r 1 -c 5 -1 -o 0.5 "$1" ;;
  esac > /dev/null 2>&1
  sleep 0.3
done
