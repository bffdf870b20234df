"""What benign users do with mail, files and shells; with their typing errors."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

from actors import Actor
from hosts import HOME

SSH_OPTIONS = [
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no", "-o", "ConnectTimeout=8",
]  # fmt: skip
COMMANDS = ("uptime", "df -h", "ls -laR /usr/share/doc | head -400", "ps aux", "cat /etc/services", "id", "date", "who")


def _ssh(actor: Actor, password: str, program: str = "ssh") -> list[str]:
    rng = actor.rng
    port_flag = "-p" if program == "ssh" else "-P"
    options = [*SSH_OPTIONS, port_flag, str(actor.port("ssh"))]
    if rng.random() < 0.3:
        options += ["-C"]
    if rng.random() < 0.3:
        options += ["-c", rng.choice(("aes128-ctr", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"))]
    return ["sshpass", "-p", password, program, *options]


def send_mail(actor: Actor) -> None:
    """A message or a few, with attachments of every size, half of them over STARTTLS."""
    rng = actor.rng
    with smtplib.SMTP(f"mail.{actor.plan['domain']}", actor.port("smtp"), timeout=20) as server:
        server.ehlo(actor.host)
        if rng.random() < 0.5:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            server.starttls(context=context)
        for _ in range(rng.choice((1, 1, 1, 3))):
            message = EmailMessage()
            message["From"], message["To"] = (
                f"{actor.host}@{actor.plan['domain']}",
                f"x{rng.randrange(50)}@{actor.plan['site']}",
            )
            message["Subject"] = f"note {rng.randrange(10**6)}"
            message.set_content("words and words\n" * rng.randint(1, 200))
            if rng.random() < 0.4:
                size = int(min(rng.lognormvariate(10.5, 1.5), 3_000_000))
                message.add_attachment(rng.randbytes(size), maintype="application", subtype="pdf", filename="a.pdf")
            server.send_message(message)


def smtp_probe(actor: Actor) -> None:
    """Monitoring: does mail answer."""
    with smtplib.SMTP(actor.address("mail"), actor.port("smtp"), timeout=10) as server:
        server.noop()


def ssh_command(actor: Actor) -> None:
    """A job that runs one command and leaves."""
    user, password = actor.user()
    target = actor.rng.choice(("shell", "files"))
    actor.shell([*_ssh(actor, password), f"{user}@{actor.address(target)}", actor.rng.choice(COMMANDS)], 20)


def ssh_session(actor: Actor) -> None:
    """Somebody types: letters with gaps, commands with answers, pauses for thought."""
    rng = actor.rng
    user, password = actor.user()
    command = [*_ssh(actor, password), "-tt", f"{user}@{actor.address('shell')}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, **quiet)
    assert process.stdin is not None
    end = min(actor.until - 2, time.time() + rng.uniform(8, 60) / actor.pace)
    try:
        actor.pause(1.5)
        while time.time() < end and process.poll() is None:
            for letter in rng.choice(COMMANDS) + "\n":
                process.stdin.write(letter.encode())
                actor.pause(min(rng.lognormvariate(-1.9, 0.5), 1.0))
            actor.wait(2.5)
        process.stdin.write(b"exit\n")
        process.wait(5)
    except (OSError, subprocess.TimeoutExpired):
        pass
    finally:
        process.kill()
        process.wait()


def ssh_mistyped(actor: Actor) -> None:
    """An administrator's day: wrong, wrong again at times, then right."""
    user, password = actor.user()
    target = f"{user}@{actor.address(actor.rng.choice(('shell', 'files')))}"
    for _ in range(actor.rng.choice((1, 1, 2, 3))):
        actor.shell([*_ssh(actor, password[:-1]), target, "true"], 15)
        actor.wait(4)
    actor.shell([*_ssh(actor, password), target, actor.rng.choice(COMMANDS)], 15)


def _document(user: str, actor: Actor) -> Path:
    return Path("/home") / user / f"doc{actor.rng.randrange(6)}.dat"


def copy_files(actor: Actor) -> None:
    """scp, sftp or rsync, up or down."""
    rng = actor.rng
    user, password = actor.user()
    remote = f"{user}@{actor.address('files')}"
    kind, here = rng.random(), str(HOME / "tmp" / f"copy-{actor.host}")
    name = f"doc{rng.randrange(6)}.dat"
    if kind < 0.3:
        actor.shell([*_ssh(actor, password, "scp"), f"{remote}:{name}", here], 30)
    elif kind < 0.5:
        actor.shell([*_ssh(actor, password, "scp"), str(_document(user, actor)), f"{remote}:up-{rng.randrange(9)}"], 30)
    elif kind < 0.8:
        script = f"ls\nget {name} {here}\nput {_document(user, actor)} up-{rng.randrange(9)}\nls -l\nbye\n"
        actor.shell([*_ssh(actor, password, "sftp"), remote], 30, text=script)
    else:
        inner = " ".join(["ssh", *SSH_OPTIONS, "-p", str(actor.port("ssh"))])
        command = [
            "sshpass",
            "-p",
            password,
            "rsync",
            "-a",
            "-e",
            inner,
            f"/home/{user}/",
            f"{remote}:sync-{rng.randrange(3)}/",
        ]
        actor.shell(command, 30)


def ftp_transfer(actor: Actor) -> None:
    """Files over FTP, passive or active, several in one session."""
    rng = actor.rng
    user, password = actor.user()
    port, address = actor.port("ftp"), actor.address("files")
    if rng.random() < 0.6:
        jobs = rng.choice(
            (f"get -O {HOME}/tmp doc1.dat", f"put /home/{user}/doc2.dat -o up.dat", "ls; ls -la", "mget -O /tmp doc*")
        )
        script = f"set net:max-retries 1; set ftp:passive-mode {rng.choice(('on', 'on', 'off'))}; {jobs}; bye"
        actor.shell(["lftp", "-u", f"{user},{password}", "-p", str(port), "-e", script, address], 40)
    else:
        url = f"ftp://{address}:{port}/"
        what = ["-o", "/dev/null", f"{url}doc{rng.randrange(6)}.dat"]
        if rng.random() < 0.5:
            what = ["-T", str(_document(user, actor)), f"{url}in-{rng.randrange(50)}.dat"]
        actor.shell(["curl", "-s", "-u", f"{user}:{password}", *what], 40)


def ftp_mistyped(actor: Actor) -> None:
    """A wrong password or two, then the right one and a listing."""
    user, password = actor.user()
    url = f"ftp://{actor.address('files')}:{actor.port('ftp')}/"
    for _ in range(actor.rng.choice((1, 1, 2))):
        actor.shell(["curl", "-s", "-u", f"{user}:{password}9", url], 15)
        actor.wait(3)
    actor.shell(["curl", "-s", "-u", f"{user}:{password}", url], 15)


def back_up(actor: Actor) -> None:
    """The backup server at work: bulk that goes one way, as an exfiltration's does."""
    rng = actor.rng
    size = int(min(rng.lognormvariate(14.2, 0.9), 12_000_000))
    path = HOME / "tmp" / f"backup-{rng.randrange(3)}.tar"
    path.write_bytes(rng.randbytes(size))
    user, password = actor.user()
    kind = rng.random()
    if kind < 0.4:
        inner = " ".join(["ssh", *SSH_OPTIONS, "-p", str(actor.port("ssh"))])
        target = f"{user}@{actor.address('files')}:bk-{rng.randrange(4)}"
        actor.shell(["sshpass", "-p", password, "rsync", "-W", "-e", inner, str(path), target], 60)
    elif kind < 0.7:
        scheme, port = rng.choice((("http", 80), ("https", 443)))
        actor.shell(
            ["curl", "-sk", "-T", str(path), f"{scheme}://{actor.address('cdn')}:{port}/app/backup/{path.name}"], 60
        )
    else:
        url = f"ftp://{actor.address('files')}:{actor.port('ftp')}/bk-{rng.randrange(4)}"
        actor.shell(["curl", "-s", "-u", f"{user}:{password}", "-T", str(path), url], 60)
