"""nginx."""

import rig

GZIP = (
    "gzip on; gzip_comp_level 6; gzip_min_length 256; gzip_vary on; gzip_types application/json;"
)


def text(job):
    servers = " ".join(f"server 127.0.0.1:{backend};" for backend in job.backends)
    tls = job.setup.tls
    listen = f"listen 127.0.0.1:{job.port}{' ssl http2' if tls else ''} backlog=1024;"
    certificate = f"ssl_certificate {tls.certificate};" if tls else ""
    key = f"ssl_certificate_key {tls.key};" if tls else ""
    return f"""\
{rig.nginx_user()}
daemon off;
worker_processes 1;
pid {job.folder}/pid;
error_log {job.folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
{rig.nginx_paths(job.folder)}
    access_log {f"{job.folder}/access.log combined" if job.logs else "off"};
    {GZIP if "compress" in job.setup.labels else ""}
    {"ssl_protocols TLSv1.2 TLSv1.3;" if tls else ""}
    keepalive_requests 1000000000;
    upstream bench {{ {servers} keepalive 256; keepalive_requests 1000000000; }}
    server {{ listen 127.0.0.1:{job.spare}; location / {{ stub_status; }} }}
    server {{
        {listen}
        {certificate} {key}
        location / {{
{grpc() if job.setup.backends == "h2c" else proxy(job.setup.backends)}
        }}
    }}
}}
"""


def proxy(backends):
    upgrade = backends == "websocket"
    connection = '"upgrade"' if upgrade else '""'
    return f"""\
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection {connection};
            {"proxy_set_header Upgrade $http_upgrade;" if upgrade else ""}
{forwarded("proxy")}"""


def grpc():
    return f"""\
            grpc_pass grpc://bench;
{forwarded("grpc")}"""


def forwarded(module):
    fields = {
        "Host": "$http_host" if module == "proxy" else "$host",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$http_host" if module == "proxy" else "$host",
        "X-Forwarded-Port": "$server_port",
        "X-Real-IP": "$remote_addr",
    }
    lines = (f"            {module}_set_header {name} {value};" for name, value in fields.items())
    return "\n".join(lines)
