#!/bin/sh
# Another beacon, with curl: beacon.sh URL SECONDS JITTER-PERCENT; asks, and every fourth time tells something.
url=$1 every=$2 jitter=$3 count=0
while :; do
  count=$((count + 1))
  if [ $((count % 4)) = 0 ]; then
    curl -sk -m 8 -o /dev/null -A 'Mozilla/4.0 (compatible; MSIE 8.0)' --data "id=$count&r=$(head -c 150 /dev/urandom | base64 -w 0)" "$url"
  else
    curl -sk -m 8 -o /dev/null -A 'Mozilla/4.0 (compatible; MSIE 8.0)' "$url?id=$(od -An -N8 -tx1 /dev/urandom | tr -d ' ')"
  fi
  sleep "$(awk -v e="$every" -v j="$jitter" -v r="$(od -An -N2 -tu2 /dev/urandom)" 'BEGIN { print e * (1 + j / 100 * (2 * r / 65535 - 1)) }')"
done
