#!/bin/sh
# Flood a broker with mosquitto_pub: mqttflood.sh HOST PORT USER PASSWORD TIMES MESSAGES
number=0
while [ "$number" -lt "$5" ]; do
  number=$((number + 1))
  seq "$6" | sed "s/^/reading of sensor $number number /" |
    timeout 6 mosquitto_pub -h "$1" -p "$2" -u "$3" -P "$4" -i "f$number" -t "plant/flood/$number" -q $((number % 2)) -l
done
