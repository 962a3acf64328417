"""Caddy."""


def text(job):
    scheme = "h2c://" if job.setup.backends == "h2c" else ""
    servers = " ".join(f"{scheme}127.0.0.1:{backend}" for backend in job.backends)
    log = f"log {{\n        output file {job.folder}/access.log\n    }}" if job.logs else ""
    tls = job.setup.tls
    return f"""\
{{
    admin 127.0.0.1:{job.spare}
    auto_https off
    {"default_sni localhost" if tls else ""}
    persist_config off
    metrics
    servers {{
        protocols h1 h2
    }}
    log default {{
        level ERROR
    }}
}}
{"https" if tls else "http"}://:{job.port} {{
    bind 127.0.0.1
    {f"tls {tls.certificate} {tls.key}" if tls else ""}
    {log}
    reverse_proxy {servers} {{
        lb_policy round_robin
        header_up X-Forwarded-Port {{http.request.local.port}}
        header_up X-Real-IP {{http.request.remote.host}}
        transport http {{
            {"versions h2c" if job.setup.backends == "h2c" else ""}
            keepalive_idle_conns_per_host 256
            compression off
        }}
    }}
}}
"""
