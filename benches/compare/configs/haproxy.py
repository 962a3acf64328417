"""HAProxy."""

# Where it is built with zlib this is level 6 too; with libslz, as in Debian,
# there is one level, which is faster and looser than zlib's first.
GZIP = "    compression algo gzip\n    compression type application/json"


def text(job):
    speaks = " proto h2" if job.setup.backends == "h2c" else ""
    servers = "\n".join(
        f"    server s{number} 127.0.0.1:{backend}{speaks}"
        for number, backend in enumerate(job.backends)
    )
    # It writes no files: its standard output is one.
    log = "    log stdout format raw local0\n    option httplog" if job.logs else "    no log"
    tls = job.setup.tls
    secure = f" ssl crt {tls.both} alpn h2,http/1.1 ssl-min-ver TLSv1.2" if tls else ""
    return f"""\
global
    tune.comp.maxlevel 6
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    http-reuse always
{log}
frontend metrics
    bind 127.0.0.1:{job.spare}
    http-request use-service prometheus-exporter
frontend bench
    bind 127.0.0.1:{job.port}{secure}
    option forwardfor
    http-request set-header X-Forwarded-Proto {"https" if tls else "http"}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Real-IP %[src]
    default_backend servers
backend servers
    balance roundrobin
{GZIP if "compress" in job.setup.labels else ""}
{servers}
"""
