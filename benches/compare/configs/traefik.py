"""Traefik: a static file and the dynamic one that it names."""


def text(job):
    scheme = "h2c" if job.setup.backends == "h2c" else "http"
    servers = "\n".join(
        f'          - url: "{scheme}://127.0.0.1:{backend}"' for backend in job.backends
    )
    tls = job.setup.tls
    certificate = (
        f"""\
tls:
  stores:
    default:
      defaultCertificate:
        certFile: {tls.certificate}
        keyFile: {tls.key}
"""
        if tls
        else ""
    )
    dynamic = job.folder / "dynamic.yml"
    dynamic.write_text(
        f"""\
http:
  routers:
    bench:
      rule: "PathPrefix(`/`)"
      entryPoints: [web]
      service: bench
{"      tls: {}" if tls else ""}
  services:
    bench:
      loadBalancer:
        servers:
{servers}
{certificate}"""
    )
    log = f"accessLog:\n  filePath: {job.folder}/access.log\n" if job.logs else ""
    return f"""\
global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: ERROR
entryPoints:
  web:
    address: "127.0.0.1:{job.port}"
  metrics:
    address: "127.0.0.1:{job.spare}"
metrics:
  prometheus:
    entryPoint: metrics
providers:
  file:
    filename: {dynamic}
{log}"""
