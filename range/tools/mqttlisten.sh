#!/bin/sh
# Listen to every topic with mosquitto_sub: mqttlisten.sh HOST PORT USER PASSWORD TIMES
number=0
while [ "$number" -lt "$5" ]; do
  number=$((number + 1))
  mosquitto_sub -h "$1" -p "$2" -u "$3" -P "$4" -i "e$number" -t '#' -t '$SYS/#' -W $((number + 2)) > /dev/null
done
