"""The range's servers: real daemons with configurations made for one run, each in its own namespace."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pages
from hosts import HERE, HOME, Net

VENV_PYTHON = sys.executable
"""Replaced by `use_python` with the interpreter that has pymodbus and aiosmtpd."""


def use_python(path: str) -> None:
    """Say which Python has the packages from PyPI."""
    global VENV_PYTHON
    VENV_PYTHON = path


def _write(name: str, text: str, mode: int = 0o644) -> str:
    path = HOME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def make_users(users: dict[str, str], rng: random.Random) -> None:
    """Accounts for SSH and FTP, in this run's own /etc; nologin for nobody, homes in memory."""
    for number, (user, password) in enumerate(users.items()):
        home = Path("/home") / user
        home.mkdir(exist_ok=True)
        digest = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True)
        with Path("/etc/passwd").open("a") as passwd, Path("/etc/shadow").open("a") as shadow:
            passwd.write(f"{user}:x:{3000 + number}:{3000 + number}::{home}:/bin/bash\n")
            shadow.write(f"{user}:{digest.stdout.strip()}:19000:0:99999:7:::\n")
        with Path("/etc/group").open("a") as group:
            group.write(f"{user}:x:{3000 + number}:\n")
        for count in range(6):
            size = min(int(rng.lognormvariate(10.5, 1.5)), 4_000_000)
            (home / f"doc{count}.dat").write_bytes(rng.randbytes(size))
        subprocess.run(["chown", "-R", f"{3000 + number}:{3000 + number}", str(home)], check=True)


def make_certificate(plan: dict) -> None:
    """One self-made certificate for all TLS servers of the run; RSA or elliptic, by the seed."""
    kind = ["rsa:2048"] if plan["seed"] % 2 else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        *kind,
        "-nodes",
        "-days",
        "30",
        "-subj",
        f"/CN=www.{plan['domain']}",
    ]
    command += ["-keyout", str(HOME / "key.pem"), "-out", str(HOME / "cert.pem")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    (HOME / "key.pem").chmod(0o644)


NGINX = """
daemon off; worker_processes 1; pid {home}/{name}/pid; error_log {home}/tmp/{name}-nginx.err warn; user root;
events {{ worker_connections 1024; }}
http {{
  include /etc/nginx/mime.types; access_log off; client_body_temp_path {home}/{name}/body;
  proxy_temp_path {home}/{name}/proxy; keepalive_timeout {keepalive}; gzip {gzip}; client_max_body_size 200m;
  gzip_types text/css application/javascript application/json; server_tokens {tokens}; sendfile on;
  limit_rate {limit};
  server {{
    listen {http} backlog=512; listen {https} ssl {http2}; server_name _; root {root};
    ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem; ssl_protocols {tls};
    location / {{ try_files $uri $uri/ =404; }}
    location /admin/ {{ auth_basic "staff"; auth_basic_user_file {home}/htpasswd; try_files $uri /index.html; }}
    location /app/ {{ proxy_pass http://127.0.0.1:9000; proxy_request_buffering off; }}
    location = /health {{ proxy_pass http://127.0.0.1:9000; }}
    location = /old {{ return 302 /index.html; }}
  }}
}}
"""


def start_web(net: Net, name: str, rng: random.Random) -> None:
    """nginx over HTTP and TLS with a site of its own, and a small application behind it."""
    plan = net.plan
    root = HOME / name / "www"
    pages.make_site(root, rng, big_files=name == "update")
    standard = name != "web"
    config = NGINX.format(
        home=HOME, name=name, root=root,
        http=80 if standard else plan["ports"]["http"], https=443 if standard else plan["ports"]["https"],
        http2="http2" if rng.random() < 0.5 else "", keepalive=rng.choice((5, 15, 65)), gzip=rng.choice(("on", "off")),
        tokens=rng.choice(("on", "off")), tls=rng.choice(("TLSv1.2 TLSv1.3", "TLSv1.2", "TLSv1.3")),
        limit=rng.choice((0, 0, "2m")),
    )  # fmt: skip
    net.spawn(name, [sys.executable, str(HERE / "shop.py"), "9000", str(plan["seed"])], f"{name}-shop")
    net.spawn(name, ["nginx", "-c", _write(f"{name}/nginx.conf", config)], f"{name}-nginx")


def start_ssh(net: Net, name: str, port: int, rng: random.Random) -> None:
    """OpenSSH with the run's accounts."""
    key = HOME / name / "hostkey"
    key.parent.mkdir(parents=True, exist_ok=True)
    kind = rng.choice((["ed25519"], ["rsa", "-b", "2048"], ["ecdsa"]))
    subprocess.run(["ssh-keygen", "-q", "-t", *kind, "-N", "", "-f", str(key)], check=True)
    config = (
        f"Port {port}\nHostKey {key}\nPidFile {HOME}/{name}/sshd.pid\nUsePAM no\nPasswordAuthentication yes\n"
        f"UseDNS no\nMaxAuthTries {rng.choice((3, 6, 6))}\nMaxStartups 60:30:100\nStrictModes no\n"
        f"Subsystem sftp /usr/lib/openssh/sftp-server\nPrintMotd no\nLoginGraceTime 30\nMaxSessions 40\n"
    )
    net.spawn(name, ["/usr/sbin/sshd", "-D", "-e", "-f", _write(f"{name}/sshd_config", config)], f"{name}-sshd")


def start_ftp(net: Net, name: str, port: int, rng: random.Random) -> None:
    """vsftpd with the run's accounts."""
    config = (
        f"listen=YES\nlisten_port={port}\nlisten_ipv6=NO\nbackground=NO\nanonymous_enable=NO\nlocal_enable=YES\n"
        "write_enable=YES\nseccomp_sandbox=NO\npam_service_name=vsftpd\nsecure_chroot_dir=/run/vsftpd/empty\n"
        "xferlog_enable=NO\nisolate_network=NO\nisolate=NO\nmax_per_ip=60\nport_enable=YES\n"
    )
    if rng.random() < 0.6:  # many servers answer a wrong password at once; PAM's default waits two seconds
        Path("/etc/pam.d/vsftpd").write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
        config += "delay_failed_login=0\n"
    config += f"max_login_fails={rng.choice((1, 3, 3))}\n"
    Path("/etc/ftpusers").write_text("root\n")
    net.spawn(name, ["vsftpd", _write(f"{name}/vsftpd.conf", config)], f"{name}-vsftpd")


def dns_records(plan: dict, rng: random.Random) -> list[str]:
    """The zone as dnsmasq options: hosts, long content-network names, TXT, MX, SRV and PTR."""
    address = {host["name"]: host["address"] for host in plan["hosts"]}
    domain, site = plan["domain"], plan["site"]
    lines = [f"host-record=www.{domain},{address['web']}", f"host-record=mail.{domain},{address['mail']}"]
    lines += [f"host-record={name}.{domain},{address[name]}" for name in ("files", "shell", "mqtt", "db", "plc", "ntp")]
    lines += [f"host-record={name}.{site},{address['cdn']}" for name in ("www", "img", "static", "api")]
    lines += [f"host-record=updates.{site},{address['update']}", f"host-record={site},{address['cdn']}"]
    lines += [f"mx-host={domain},mail.{domain},10", f"srv-host=_ldap._tcp.{domain},files.{domain},389"]
    lines += [f'txt-record={domain},"v=spf1 include:{site} ip4:198.18.0.0/15 -all"']
    key = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=216))
    lines += [f'txt-record=s1._domainkey.{domain},"v=DKIM1; k=rsa; p={key}"']
    lines += [f"host-record=srv{number}.{domain},{address['web']}" for number in range(60)]
    for number in range(150):
        token = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randint(8, 34)))
        lines += [f"host-record={token}.edge{number % 7}.cache.{site},{address['cdn']}"]
        if number % 6 == 0:
            lines += [f"cname=assets{number}.{domain},{token}.edge{number % 7}.cache.{site}"]
        if number % 4 == 0:
            lines += [f"host-record=v6-{token[:6]}.{site},2001:db8::{number + 1:x}"]
    return lines


def start_dns(net: Net, rng: random.Random) -> None:
    """dnsmasq twice: authoritative far away, and the site's resolver that forwards to it."""
    plan = net.plan
    address = {host["name"]: host["address"] for host in plan["hosts"]}
    shared = "no-resolv\nno-hosts\nuser=root\nbind-interfaces\nno-daemon\n"
    records = dns_records(plan, rng)
    zones = "".join(f"local=/{zone}/\n" for zone in (plan["domain"], plan["site"], "example", "arpa"))
    zones += f"local-ttl={rng.choice((5, 30, 60))}\n"
    upstream = _write("auth/dnsmasq.conf", shared + zones + "\n".join(records) + "\n")
    forward = (
        f"server={address['auth']}\nserver=/{plan['tunnel_domain']}/{address['c2']}\n"
        f"cache-size={rng.choice((0, 150, 400))}\nrebind-domain-ok=/example/\ndns-forward-max=500\n"
    )
    net.spawn("auth", ["dnsmasq", "-C", upstream, "--pid-file="], "auth-dnsmasq")
    net.spawn("dns", ["dnsmasq", "-C", _write("dns/dnsmasq.conf", shared + forward), "--pid-file="], "dns-dnsmasq")
    _write("names.txt", "\n".join(_names(records)))


def _names(records: list[str]) -> list[str]:
    return [line.split("=", 1)[1].split(",")[0] for line in records if line.startswith(("host-record", "cname"))]


def start_mqtt(net: Net) -> None:
    """mosquitto with a password file; anonymous clients are let in on every second plan."""
    users = "\n".join(f"{user}:{password}" for user, password in net.plan["users"].items())
    passwords = _write("mqtt/passwords", users + "\n", 0o600)
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, stderr=subprocess.DEVNULL)
    config = (
        f"listener {net.plan['ports']['mqtt']} 0.0.0.0\nallow_anonymous {'true' if net.plan['seed'] % 2 else 'false'}\n"
        f"password_file {passwords}\nuser root\nmax_queued_messages 200\n"
    )
    net.spawn("mqtt", ["mosquitto", "-c", _write("mqtt/mosquitto.conf", config)], "mqtt-mosquitto")


def start_database(net: Net) -> None:
    """PostgreSQL with a small table, for the application's and the developer's queries."""
    bin_folder = max(Path("/usr/lib/postgresql").glob("*/bin"), key=str)
    data = HOME / "db" / "data"
    data.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["chown", "postgres", str(data.parent)], check=True)
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    init = [*as_postgres, str(bin_folder / "initdb"), "-D", str(data), "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
    (data / "pg_hba.conf").write_text("local all all trust\nhost all all 0.0.0.0/0 trust\n")
    port = str(net.plan["ports"]["postgres"])
    options = f"-c listen_addresses=* -c port={port} -c unix_socket_directories={data} -c fsync=off -c autovacuum=off"
    net.spawn("db", [*as_postgres, str(bin_folder / "postgres"), "-D", str(data), *options.split()], "db-postgres")
    sql = (
        "create table readings as select n as id, md5(n::text) as name, random() as value, now() as taken "
        "from generate_series(1, 20000) n; create index on readings (id);"
    )
    for _ in range(40):
        ready = net.call("db", ["psql", "-h", str(data), "-p", port, "-U", "postgres", "-qc", sql], capture_output=True)
        if ready.returncode == 0:
            return
        time.sleep(0.25)


def start_all(net: Net) -> None:
    """Every server of the plan."""
    plan = net.plan
    rng = random.Random(f"servers {plan['seed']}")
    ports = plan["ports"]
    database = threading.Thread(target=start_database, args=(net,))
    database.start()
    make_certificate(plan)
    make_users(plan["users"], rng)
    hashed = [f"{user}:{{PLAIN}}{password}" for user, password in plan["users"].items()]
    _write("htpasswd", "\n".join(hashed) + "\n")
    start_dns(net, rng)
    for name in ("web", "cdn", "update"):
        start_web(net, name, rng)
    start_ssh(net, "shell", ports["ssh"], rng)
    start_ssh(net, "files", ports["ssh"], rng)
    start_ftp(net, "files", ports["ftp"], rng)
    start_mqtt(net)
    smtp = [VENV_PYTHON, str(HERE / "mailserver.py"), str(ports["smtp"]), str(HOME)]
    net.spawn("mail", smtp, "mail-smtp")
    net.spawn("plc", [VENV_PYTHON, str(HERE / "plc.py"), str(ports["modbus"])], "plc-modbus")
    ntp = _write("ntp/chrony.conf", "local stratum 8\nallow\nbindcmdaddress /\ncmdport 0\npidfile /run/range/ntp/pid\n")
    net.spawn("ntp", ["chronyd", "-x", "-d", "-u", "root", "-f", ntp], "ntp-chronyd")  # -x: never touch the clock
    database.join()
    wait_for_ports(net, {"web": ports["http"], "files": ports["ftp"], "plc": ports["modbus"], "mail": ports["smtp"]})


def wait_for_ports(net: Net, wanted: dict[str, int]) -> None:
    """Return when every one of these listens, looking at the kernel's table and sending nothing."""
    for name, port in wanted.items():
        for _ in range(60):
            done = net.call(name, ["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True)
            if done.stdout.strip():
                break
            time.sleep(0.25)
        else:
            raise SystemExit(
                f"range: {name} does not listen on {port}; see its log in {HOME}/tmp ({socket.gethostname()})"
            )
