"""What each peer reads. As its manual advises for a proxy with kept connections."""

import collections

from configs import caddy, envoy, evenkeel, haproxy, nginx, traefik

# `labels` are Evenkeel's; the others say the same in their own way. `tls` holds
# the credentials where clients come by TLS, `backends` what is behind: `http`,
# `h2c` or `websocket`.
Setup = collections.namedtuple("Setup", "labels tls backends")
Job = collections.namedtuple("Job", "folder port spare backends logs setup")

WRITERS = {
    "evenkeel": ("evenkeel.toml", evenkeel.text),
    "nginx": ("nginx.conf", nginx.text),
    "haproxy": ("haproxy.cfg", haproxy.text),
    "traefik": ("traefik.yml", traefik.text),
    "envoy": ("envoy.yaml", envoy.text),
    "caddy": ("Caddyfile", caddy.text),
}


def write(name, job):
    """Writes what this peer reads into the job's folder; the path, or none where
    flags say all."""
    file, writer = WRITERS[name]
    text = writer(job)
    if not text:
        return None
    path = job.folder / file
    path.write_text(text)
    return path
